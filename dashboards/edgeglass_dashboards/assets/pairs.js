/* Points that are pairs: the picture of the one under the pointer beside it, a click chooses it. */
(function () {
  "use strict";
  const card = Object.assign(document.createElement("img"), { id: "pair-hover", alt: "", hidden: true });
  document.body.append(card);

  const hide = () => {
    card.hidden = true;
  };
  ["_dashprivate_pushstate", "popstate"].forEach((gone) => window.addEventListener(gone, hide));

  /* The pair of a point and what its line or figure says of pairs, undefined where it is none (as a mean). */
  function found(graph, [point]) {
    const of = [point && point.data.meta, graph.layout.meta].map((meta) => meta && meta.pairs).find(Boolean);
    return of && point && Number.isInteger(point.customdata) ? { ...of, pair: point.customdata } : undefined;
  }

  function listenPairs(graph) {
    graph.on("plotly_click", ({ points }) => {
      const of = found(graph, points);
      if (of) window.edgeglass.change({ pair: of.pair, step: of.step });
    });
    graph.on("plotly_hover", ({ points, event }) => {
      const of = found(graph, points);
      if (!of || !of.pictures) return;
      card.src = of.pictures + of.pair;
      card.style.left = `${Math.min(event.clientX + 16, window.innerWidth - 140)}px`;
      card.style.top = `${Math.max(8, event.clientY - 140)}px`;
      card.hidden = false;
    });
    graph.on("plotly_unhover", hide);
    graph.on("plotly_afterplot", hide); /* a figure that is drawn anew forgets that it was hovered */
    graph.addEventListener("pointerleave", hide);
  }
  window.edgeglass = Object.assign(window.edgeglass || {}, { listenPairs });
})();
