/* How the run on the screen stands: in the title, the icon of the tab, and a toast for each new finding. */
(function () {
  "use strict";
  const SIGNS = { critical: "✖", warning: "▲", good: "✔", running: "▶" };
  const COLORS = { critical: "#c2410c", warning: "#b7791f", good: "#0a6b50", running: "#0b5e99" };
  const SHAPES = {
    critical: "M10 2h12l8 8v12l-8 8H10l-8-8V10z",
    warning: "M16 2L31 29H1z",
    good: "M16 2a14 14 0 1 0 .1 0z",
    running: "M6 2l24 14L6 30z",
  };
  const seen = new Map(); /* keys of findings by run */
  const ways = new Map();
  let label = "";
  let tone = "";

  function entitle() {
    const name = label ? `${label} - edgeglass-diag` : "edgeglass-diag";
    document.title = SIGNS[tone] && label ? `${SIGNS[tone]} ${name}` : name;
  }

  function draw() {
    const link = document.querySelector("link[rel~=icon]");
    if (!link || link.dataset.tone === tone) return;
    link.dataset.tone = tone;
    link.dataset.usual = link.dataset.usual || link.getAttribute("href");
    const svg = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><path fill='${COLORS[tone]}' d='${SHAPES[tone]}'/></svg>`;
    link.removeAttribute("type");
    link.href = SHAPES[tone] ? `data:image/svg+xml,${encodeURIComponent(svg)}` : link.dataset.usual;
  }

  function tell(finding) {
    ways.set(finding.title, finding.way);
    return {
      action: "show",
      id: `toast-${finding.key}`,
      title: finding.title,
      message: finding.message,
      color: finding.severity === "critical" ? "red" : "yellow",
      autoClose: 20000,
      closeButtonProps: { "aria-label": "Close" },
    };
  }

  function apply(state) {
    tone = state ? state.tone : "";
    entitle();
    draw();
    if (!state || state.findings === undefined) return;
    const known = seen.get(state.run);
    const fresh = known ? state.findings.filter((finding) => !known.has(finding.key)) : [];
    seen.set(state.run, new Set([...(known || []), ...state.findings.map((finding) => finding.key)]));
    if (fresh.length) window.dash_clientside.set_props("toasts", { sendNotifications: fresh.slice(0, 3).map(tell) });
  }

  document.addEventListener("click", ({ target }) => {
    const toast = target.closest(".mantine-Notification-root");
    if (!toast || target.closest("button")) return;
    const title = toast.querySelector(".mantine-Notification-title");
    const way = title && ways.get(title.textContent);
    if (way) window.edgeglass.go(way);
  });

  /* A page that is drawn brings its state along; a page of no run has none. */
  let drawn = null;
  new MutationObserver(() => {
    const page = document.querySelector("[data-token]");
    if (!page || page.dataset.token === drawn) return;
    drawn = page.dataset.token;
    apply(page.dataset.state ? JSON.parse(page.dataset.state) : null);
  }).observe(document.body, { childList: true, subtree: true });

  window.edgeglass = Object.assign(window.edgeglass || {}, {
    state: apply,
    label(words) {
      label = words;
      entitle();
    },
  });
})();
