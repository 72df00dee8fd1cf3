/* Keeps the page up to date: asks for what is new and sets only the properties that changed. */
(function () {
  "use strict";
  const root = document.documentElement;
  const noUpdate = () => window.dash_clientside.no_update;

  /* The path that a proxy has put in front; addresses within the dashboard do without it. */
  const BASE = JSON.parse(document.getElementById("_dash-config").textContent).requests_pathname_prefix.replace(/\/$/, "");
  const bare = (path) => (BASE && (path === BASE || path.startsWith(`${BASE}/`)) ? path.slice(BASE.length) || "/" : path);

  const scheme = () => {
    const known = root.getAttribute("data-mantine-color-scheme");
    if (known === "light" || known === "dark") return known;
    return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  };

  const setProps = (id, properties) => {
    if (document.getElementById(id) || ["live", "place", "url"].includes(id)) {
      window.dash_clientside.set_props(id, properties);
    }
  };

  /* plotly.js is fetched while the page is on its way; it runs (for longer than all the rest) once the words stand. */
  function fetchPlotly() {
    if (window.Plotly || !window._dashPlotlyJSURL) return;
    document.head.append(Object.assign(document.createElement("link"), { rel: "preload", as: "script", href: window._dashPlotlyJSURL }));
  }

  const tellConnection = (words) => {
    const line = document.getElementById("connection");
    if (line && line.textContent !== words) line.textContent = words;
  };

  async function ask(address) {
    try {
      const answer = await fetch(BASE + address, { cache: "no-store", signal: AbortSignal.timeout(10000) });
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

  /* Addresses: the view (page, signal, site, step, ...) is the query, so that a link shows it again. */
  function go(address, { replace = false } = {}) {
    const next = new URL(address, window.location.href);
    if (next.href === window.location.href) return;
    window.history[replace ? "replaceState" : "pushState"]({}, "", next);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
  }

  function change(parts, options) {
    const query = new URLSearchParams(window.location.search);
    Object.entries(parts).forEach(([key, value]) => {
      query.delete(key);
      [].concat(value ?? []).forEach((one) => query.append(key, one));
    });
    const text = query.toString();
    go(window.location.pathname + (text ? `?${text}` : ""), options);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (link.target || link.origin !== window.location.origin || link.getAttribute("href").startsWith("#")) return;
    event.preventDefault();
    go(link.href);
  });

  if (BASE) {
    new MutationObserver(() => {
      document.querySelectorAll('a[href^="/"]').forEach((link) => {
        const href = link.getAttribute("href");
        if (bare(href) === href) link.setAttribute("href", BASE + href);
      });
    }).observe(document.body, { childList: true, subtree: true, attributeFilter: ["href"] });
  }

  /* The page that an address shows; those of all runs (/runs, /compare) have one each. */
  const keyOf = (address, search) => {
    const query = new URLSearchParams(search);
    const page = query.get("page") || "overview";
    if (address !== "/" && !address.startsWith("/run/")) return address;
    return `${address}|${page}${page === "site" ? `|${query.get("site") || ""}` : ""}`;
  };

  /* What is new: one request at a time, as the next one goes on where the last one ended. */
  const shownPage = () => document.querySelector("[data-cursor]");
  let held = { token: null };
  let busy = false;
  let again = false;
  let following = true;

  const cursorOf = (page) => {
    if (held.token !== page.dataset.token) held = JSON.parse(page.dataset.cursor);
    return held;
  };

  const redraw = () =>
    setProps("place", {
      data: { address: bare(window.location.pathname), search: window.location.search, scheme: scheme(), drawn: Date.now() },
    });

  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      await poll();
    } finally {
      busy = false;
      if (again) {
        again = false;
        refresh();
      }
    }
  }

  async function poll() {
    const page = shownPage();
    if (!page) return;
    const cursor = cursorOf(page);
    const search = window.location.search;
    const query = new URLSearchParams({
      cursor: JSON.stringify(cursor),
      search,
      scheme: scheme(),
      hold: following ? "" : "1",
    });
    const news = await ask(`/_live?${query}`);
    if (!news || !document.querySelector(`[data-token="${cursor.token}"]`)) return;
    if (search !== window.location.search) return; /* of a view that is no longer asked for; the next poll has all of it */
    if (news.redraw) redraw();
    if (!news.changes) return;
    held = news.cursor;
    news.changes.forEach(([id, properties]) => {
      if (id === "state") window.edgeglass.state(properties.data);
      else if (properties.marks) window.edgeglass.setMarks(id, properties.marks);
      else if (properties.addColumns) window.edgeglass.addColumns(id, properties.addColumns);
      else setProps(id, properties);
    });
  }

  async function watch(options, place) {
    const runs = await ask("/_runs");
    if (!runs || JSON.stringify(runs) === JSON.stringify(options)) return;
    setProps("picker", { data: runs });
    const newest = (list) => (list && list.length ? list[0].value : null);
    if (place.address === "/" && newest(runs) !== newest(options)) redraw();
  }

  /* Long lists travel as data: texts become text nodes, and of attributes only these are set. */
  const ATTRIBUTES = { className: "class", href: "href", scope: "scope", role: "role", tabIndex: "tabindex", open: "open" };
  function build(node) {
    if (node === null || node === undefined) return [];
    if (Array.isArray(node)) return node.flatMap(build);
    if (typeof node !== "object") return [String(node)];
    const element = document.createElement(node.type.toLowerCase());
    Object.entries(node.props).forEach(([key, value]) => {
      const name = ATTRIBUTES[key] || (/^(aria|data)-/.test(key) ? key : null);
      if (name && value !== null) element.setAttribute(name, value);
    });
    element.append(...build(node.props.children));
    return [element];
  }

  const built = new WeakMap();
  function fill(place) {
    if (built.get(place) === place.dataset.plain) return;
    built.set(place, place.dataset.plain);
    place.replaceChildren(...build(JSON.parse(place.dataset.plain)));
  }
  new MutationObserver(() => document.querySelectorAll("[data-plain]").forEach(fill)).observe(document.body, {
    childList: true,
    subtree: true,
    attributeFilter: ["data-plain"],
  });

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

  /* A tab in the background draws and asks for nothing, but how the run stands, now and then, for title and icon. */
  document.addEventListener("visibilitychange", () => {
    const live = shownPage();
    if (!document.hidden && following && live && live.dataset.ended !== "true") refresh();
  });
  setInterval(async () => {
    const page = shownPage();
    if (!document.hidden || !page || page.dataset.ended === "true" || !cursorOf(page).page) return;
    const state = await ask(`/_state?${new URLSearchParams({ path: cursorOf(page).path })}`);
    if (state && document.hidden) window.edgeglass.state(state);
  }, 30000);

  window.edgeglass = Object.assign(window.edgeglass || {}, { go, change, scheme });

  /* What a control chooses becomes a part of the address: of its id the field. */
  const FIELDS = { query: "query", compared: "runs", shown: "show", "shown-sites": "sites", smooth: "smooth", log: "log", ranks: "ranks" };
  window.dash_clientside = window.dash_clientside || {};
  Object.assign(window.dash_clientside, {
    edgeglass: {
      place(path, search, templates, paints) {
        Object.assign(window.edgeglass, { templates, paints });
        const address = bare(path);
        const page = shownPage();
        if (page && page.dataset.page === keyOf(address, search)) {
          refresh();
          return noUpdate();
        }
        following = true;
        setTimeout(fetchPlotly);
        return { address, search, scheme: scheme() };
      },
      poll() {
        if (following && !busy && !document.hidden) refresh();
      },
      follow(checked) {
        following = checked !== false;
      },
      watch(_, options, place) {
        if (place && !document.hidden) watch(options, place);
      },
      navigate(value, options, path) {
        const address = bare(path);
        const newest = options && options.length ? options[0].value : null;
        const shown = address === "/" ? newest : address;
        const picked = (options || []).find((option) => option.value === value);
        window.edgeglass.label(picked ? picked.label : "");
        if (value && value !== shown) go(BASE + value + (address.startsWith("/run") || address === "/" ? window.location.search : ""));
      },
      slide(value, last) {
        const asked = new URLSearchParams(window.location.search).get("step");
        const shown = asked === null ? last : Math.min(Number(asked), last);
        if (value !== undefined && value !== null && value !== shown) change({ step: value === last ? null : value }, { replace: true });
      },
      choose(value) {
        const key = FIELDS[window.dash_clientside.callback_context.inputs_list[0].id];
        if (value === undefined || value === null) return;
        const chosen = [].concat(value).filter(Boolean).map((one) => (one === true ? "1" : String(one)));
        const asked = new URLSearchParams(window.location.search).getAll(key);
        if (JSON.stringify(asked) !== JSON.stringify(chosen)) change({ [key]: chosen }, { replace: true });
      },
    },
  });
})();
