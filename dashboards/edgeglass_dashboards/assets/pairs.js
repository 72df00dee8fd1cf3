/* The picture of the pair under the pointer, beside it. */
(function () {
  "use strict";
  const card = Object.assign(document.createElement("img"), { id: "pair-hover", alt: "", hidden: true });
  document.body.append(card);

  const hide = () => {
    card.hidden = true;
  };
  ["_dashprivate_pushstate", "popstate"].forEach((gone) => window.addEventListener(gone, hide));

  function hoverPairs(graph) {
    graph.on("plotly_hover", ({ points, event }) => {
      const address = graph.layout.meta && graph.layout.meta.pictures;
      const pair = points.length ? points[0].customdata : null;
      if (!address || !Number.isInteger(pair)) return;
      card.src = address + pair;
      card.style.left = `${Math.min(event.clientX + 16, window.innerWidth - 140)}px`;
      card.style.top = `${Math.max(8, event.clientY - 140)}px`;
      card.hidden = false;
    });
    graph.on("plotly_unhover", hide);
    graph.on("plotly_afterplot", hide); /* a figure that is drawn anew forgets that it was hovered */
    graph.addEventListener("pointerleave", hide);
  }
  window.edgeglass = Object.assign(window.edgeglass || {}, { hoverPairs });
})();
