/* j and k walk over the findings, g and a letter lead to a page, ? lists the keys. */
(function () {
  "use strict";
  let awaitsLetter = false;

  function walk(by) {
    const ways = [...document.querySelectorAll("main .finding-way")];
    if (!ways.length) return;
    const at = ways.findIndex((way) => way.closest(".finding-item").contains(document.activeElement) && way === document.activeElement);
    const next = ways[Math.max(0, Math.min(ways.length - 1, at < 0 ? (by > 0 ? 0 : ways.length - 1) : at + by))];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    const inText = event.target.closest("input, textarea, select, [contenteditable]");
    if (inText || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (awaitsLetter) {
      awaitsLetter = false;
      const tab = document.querySelector(`.tabs a[data-key="${CSS.escape(key)}"]`);
      if (tab) tab.click();
      return;
    }
    if (key === "g") awaitsLetter = true;
    else if (key === "j") walk(1);
    else if (key === "k") walk(-1);
    else if (key === "?") window.dash_clientside.set_props("help", { opened: true });
  });
})();
