/* What Dash's graphs cannot do: grow by columns and marks, answer clicks, keep a zoom in the address, fit a phone. */
(function () {
  "use strict";

  /* New findings on the time line: its last trace and its lines, so that all else stays as it is. */
  async function setMarks(id, { trace, shapes }) {
    const graph = document.querySelector(`#${CSS.escape(id)} .js-plotly-plot`);
    if (!graph || !window.Plotly || !graph.data) {
      if (document.getElementById(id)) setTimeout(() => setMarks(id, { trace, shapes }), 200);
      return;
    }
    const before = graph.data.findIndex(({ meta }) => meta && meta.ways);
    if (before >= 0) await window.Plotly.deleteTraces(graph, before);
    await window.Plotly.addTraces(graph, trace);
    await window.Plotly.relayout(graph, { shapes, hovermode: "closest" });
  }

  /* New steps of a heatmap become columns of what is drawn: zoom and all that is known stay. */
  function addColumns(id, added) {
    const graph = document.querySelector(`#${CSS.escape(id)} .js-plotly-plot`);
    if (!graph || !window.Plotly) return;
    const [map, marks] = graph._fullData;
    const rows = Array.from(map.y, (site) => added.sites[site] || { z: [], value: [] });
    const grown = (matrix, key) => Array.from(matrix, (row, index) => [...row, ...added.steps.map((_, i) => rows[index][key][i] ?? null)]);
    const changes = { x: [[...map.x, ...added.steps]], z: [grown(map.z, "z")] };
    if (map.customdata) changes.customdata = [grown(map.customdata, "value")];
    if (map.zauto) Object.assign(changes, { zmin: map.zmin, zmax: map.zmax });
    window.Plotly.restyle(graph, changes, [0]);
    if (added.broken.x.length) {
      const [half, [step]] = [(added.steps[0] - map.x[map.x.length - 1]) / 2, added.steps];
      if (added.steps.length === 1) added.broken.x = added.broken.x.map((x, place) => (x === null ? null : step + (place % 3 ? half : -half)));
      window.Plotly.extendTraces(graph, Object.fromEntries(Object.entries(added.broken).map(([key, more]) => [key, [more]])), [1]);
    }
  }

  /* A figure whose layout.meta.pick says so tells by a click which site and step to look at. */
  const listening = new WeakSet();
  function listen(graph) {
    if (listening.has(graph) || !graph.on || !graph.layout) return;
    listening.add(graph);
    graph.on("plotly_afterplot", () => (narrow(graph), wholeSteps(graph)));
    graph.on("plotly_relayout", (moved) => keepSpan(graph, moved));
    narrow(graph);
    wholeSteps(graph);
    window.edgeglass.listenPairs(graph);
    graph.on("plotly_click", ({ points }) => {
      const [way] = points.map(({ data, pointIndex }) => data.meta && data.meta.ways && data.meta.ways[pointIndex]).filter(Boolean);
      if (way) return window.edgeglass.go(way);
      const pick = graph.layout.meta && graph.layout.meta.pick;
      if (!pick || !points.length) return;
      const { customdata } = points[0]; /* of a stroke its steps in words, the first one first */
      const struck = typeof customdata === "string" ? { x: parseInt(customdata, 10) } : {};
      window.edgeglass.change(Object.fromEntries(Object.entries(pick).map(([key, axis]) => [key, struck[axis] ?? points[0][axis]])));
      const history = document.getElementById("history");
      if (history && pick.site) history.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
  }

  new MutationObserver(() => document.querySelectorAll(".js-plotly-plot").forEach(listen)).observe(document.body, {
    childList: true,
    subtree: true,
  });

  /* A span of steps that was dragged over is part of the address, which draws it with all of its detail. */
  function keepSpan(graph, moved) {
    if (!graph.layout.meta || !graph.layout.meta.span) return;
    const [first, last] = [moved["xaxis.range[0]"], moved["xaxis.range[1]"]];
    if (moved["xaxis.autorange"]) window.edgeglass.change({ span: null }, { replace: true });
    else if (first !== undefined && last > first) {
      const from = Math.max(0, Math.floor(first));
      window.edgeglass.change({ span: `${from}:${Math.max(from + 1, Math.ceil(last))}` }, { replace: true });
    }
  }

  /* Steps are whole numbers, also where one has zoomed into a few; an axis that has grown chooses its labels itself. */
  function wholeSteps(graph) {
    const axes = Object.keys(graph._fullLayout || {}).filter((key) => /^xaxis\d*$/.test(key));
    const changes = {};
    for (const key of axes) {
      const { title, range, tickmode, dtick } = graph._fullLayout[key];
      if (!title || title.text !== "optimizer step" || !range) continue;
      const few = Math.abs(range[1] - range[0]) < 9;
      const isFixed = tickmode === "linear";
      if (few && !(isFixed && dtick === 1)) Object.assign(changes, { [`${key}.tickmode`]: "linear", [`${key}.dtick`]: 1, [`${key}.tick0`]: 0 });
      else if (!few && isFixed) Object.assign(changes, { [`${key}.tickmode`]: "auto", [`${key}.dtick`]: null });
    }
    if (Object.keys(changes).length) window.Plotly.relayout(graph, changes);
  }

  /* On a phone the names of places keep their ends, and the scale of colours is narrow. */
  function narrow(graph) {
    const meta = graph.layout.meta;
    const marks = graph.data.findIndex((trace) => trace.meta && trace.meta.ways);
    if (marks >= 0 && graph.clientWidth < 520 && graph.data[marks].mode !== "markers") {
      window.Plotly.restyle(graph, { mode: "markers" }, [marks]);
    }
    if (!meta || !meta.pick || meta.narrow || graph.clientWidth > 520) return;
    meta.narrow = true;
    const end = (name) => `…${name.slice(name.indexOf(".", name.length - 17) + 1 || -16)}`; /* whole names where they fit */
    const names = graph.layout.yaxis.ticktext.map((name) => (name.length > 17 ? end(name) : name));
    const scale = graph.data[0].colorbar;
    const left = 12 + 6 * Math.max(0, ...names.map((name) => name.length));
    window.Plotly.relayout(graph, { "yaxis.ticktext": names, "yaxis.tickfont.size": 10, "margin.l": left, "margin.r": scale ? 64 : 8 });
    if (scale) {
      window.Plotly.restyle(graph, { "colorbar.thickness": 7, "colorbar.tickfont.size": 9, "colorbar.xpad": 4 }, [0]);
    }
  }

  /* The colours follow the page's: those of the template, and those that lines and marks were given in the other scheme. */
  const PAINTED = ["line.color", "marker.color", "marker.line.color", "textfont.color", "textfont.shadow"];
  function repaint(graph, scheme) {
    const { templates, paints } = window.edgeglass;
    const from = paints[scheme === "dark" ? "light" : "dark"];
    const turned = (color) => {
      if (Array.isArray(color)) return color.map(turned);
      return (typeof color === "string" && paints[scheme][from.indexOf(color)]) || color;
    };
    PAINTED.forEach((path) => {
      const now = graph.data.map((trace) => path.split(".").reduce((part, key) => (part ?? {})[key], trace));
      const next = now.map(turned);
      const places = next.flatMap((color, place) => (color === undefined || String(color) === String(now[place]) ? [] : [place]));
      if (places.length) window.Plotly.restyle(graph, { [path]: places.map((place) => next[place]) }, places);
    });
    const shapes = (graph.layout.shapes || []).map((shape) => ({ ...shape, line: { ...shape.line, color: turned((shape.line || {}).color) } }));
    window.Plotly.relayout(graph, { template: templates[scheme], ...(shapes.length ? { shapes } : {}) });
  }
  const graphs = () => (window.Plotly && window.edgeglass.paints ? document.querySelectorAll(".js-plotly-plot") : []);
  new MutationObserver(() => graphs().forEach((graph) => repaint(graph, window.edgeglass.scheme()))).observe(document.documentElement, { attributes: true, attributeFilter: ["data-mantine-color-scheme"] });

  /* Paper is light, and narrower than most screens. */
  const SCHEME = "data-mantine-color-scheme";
  const PAPER = 680;
  let shown = null;
  window.addEventListener("beforeprint", () => {
    shown = document.documentElement.getAttribute(SCHEME);
    document.documentElement.setAttribute(SCHEME, "light"); /* its observer comes after the paper is drawn */
    const line = document.getElementById("loss");
    if (line) document.documentElement.style.setProperty("--loss-on-screen", `${line.clientHeight}px`);
    graphs().forEach((graph) => {
      repaint(graph, "light");
      window.Plotly.relayout(graph, { width: Math.min(graph.clientWidth, PAPER), autosize: false });
    });
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.setAttribute(SCHEME, shown);
    graphs().forEach((graph) => window.Plotly.relayout(graph, { width: null, autosize: true }));
  });

  window.edgeglass = Object.assign(window.edgeglass || {}, { setMarks, addColumns });
})();
