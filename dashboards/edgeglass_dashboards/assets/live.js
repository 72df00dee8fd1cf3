/* Keeps the page up to date: asks for what is new and sets only the properties that changed. */
(function () {
  "use strict";
  const root = document.documentElement;
  let templates = {};
  let polling = false;

  const scheme = () => {
    const known = root.getAttribute("data-mantine-color-scheme");
    if (known === "light" || known === "dark") return known;
    return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  };

  const setProps = (id, properties) => {
    if (document.getElementById(id) || id === "live" || id === "cursor" || id === "place" || id === "url") {
      window.dash_clientside.set_props(id, properties);
    }
  };

  const tellConnection = (words) => {
    const line = document.getElementById("connection");
    if (line && line.textContent !== words) line.textContent = words;
  };

  async function ask(address) {
    try {
      const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok) {
        tellConnection(`The dashboard answered with an error (${answer.status}). Trying again.`);
        return null;
      }
      const data = await answer.json();
      tellConnection("");
      return data;
    } catch (error) {
      tellConnection("Connection lost. The page goes on by itself once the dashboard answers again.");
      return null;
    }
  }

  const onScreen = (token) => document.querySelector(`[data-token="${token}"]`) !== null;
  const redraw = (place) => setProps("place", { data: { ...place, scheme: scheme(), drawn: Date.now() } });

  async function poll(cursor, place) {
    const query = new URLSearchParams({ cursor: JSON.stringify(cursor), scheme: scheme() });
    const news = await ask(`/_live?${query}`);
    if (!news || !onScreen(cursor.token)) return;
    if (news.redraw) redraw(place);
    if (!news.changes) return;
    setProps("cursor", { data: news.cursor });
    news.changes.forEach(([id, properties]) => setProps(id, properties));
  }

  async function watch(options, place) {
    const runs = await ask("/_runs");
    if (!runs || JSON.stringify(runs) === JSON.stringify(options)) return;
    setProps("picker", { data: runs });
    const newest = (list) => (list && list.length ? list[0].value : null);
    if (place.address === "/" && newest(runs) !== newest(options)) redraw(place);
  }

  /* A section whose content changed is drawn anew: what was open stays open, what had the focus keeps it. */
  const opened = new Set();
  let focused = null;
  document.addEventListener(
    "toggle",
    ({ target }) => {
      const key = target.dataset.finding;
      if (key) target.open ? opened.add(key) : opened.delete(key);
    },
    true,
  );
  document.addEventListener("focusin", ({ target }) => {
    const details = target.closest("details[data-finding]");
    focused = details ? details.dataset.finding : null;
  });
  new MutationObserver(() => {
    document.querySelectorAll("details[data-finding]").forEach((details) => {
      const key = details.dataset.finding;
      if (opened.has(key) && !details.open) details.open = true;
      if (key === focused && document.activeElement === document.body) {
        details.querySelector("summary").focus({ preventScroll: true });
      }
    });
  }).observe(document.body, { childList: true, subtree: true });

  new MutationObserver(() => {
    const template = templates[scheme()];
    if (!template || !window.Plotly) return;
    document.querySelectorAll(".js-plotly-plot").forEach((graph) => window.Plotly.relayout(graph, { template }));
  }).observe(root, { attributes: true, attributeFilter: ["data-mantine-color-scheme"] });

  window.dash_clientside = window.dash_clientside || {};
  Object.assign(window.dash_clientside, {
    edgeglass: {
      place(address, known) {
        templates = known;
        return { address, scheme: scheme() };
      },
      poll(_, cursor, following, place) {
        if (!cursor || !following || polling) return;
        polling = true;
        poll(cursor, place).finally(() => (polling = false));
      },
      watch(_, options, place) {
        if (place) watch(options, place);
      },
      navigate(value, options, address) {
        const newest = options && options.length ? options[0].value : null;
        const shown = address === "/" ? newest : address;
        const picked = (options || []).find((option) => option.value === value);
        document.title = picked ? `${picked.label} - edgeglass-diag` : "edgeglass-diag";
        if (value && value !== shown) setProps("url", { pathname: value });
      },
    },
  });
})();
