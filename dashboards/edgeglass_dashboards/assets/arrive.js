/* A page that one comes to from another: its tab is in sight, and what had the focus before gives it to the content. */
(function () {
  "use strict";
  let shown = null;

  new MutationObserver(() => {
    const page = document.querySelector("[data-page]");
    if (!page || page.dataset.page === shown) return;
    const isFirst = shown === null;
    shown = page.dataset.page;
    const tab = page.querySelector(".tabs a[aria-current]");
    if (tab) {
      const tabs = tab.closest(".tabs");
      tabs.scrollLeft += tab.getBoundingClientRect().left - tabs.getBoundingClientRect().left - (tabs.clientWidth - tab.offsetWidth) / 2;
    }
    if (isFirst) return;
    window.scrollTo(0, 0);
    if (document.activeElement === document.body) document.getElementById("page").focus({ preventScroll: true });
  }).observe(document.body, { childList: true, subtree: true });
})();
