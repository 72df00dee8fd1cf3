"use strict";
// Unpacks plotly.js and the figures, draws a figure when it comes into view, all of them before printing.
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const places = Array.from(document.querySelectorAll(".plot"));
  let figures = null;
  let printing = false;

  async function unpack(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  function draw(place) {
    const theme = dark.matches && !printing ? "dark" : "light";
    if (place.dataset.drawn === theme) return;
    const figure = figures[place.dataset.figure][theme];
    const narrow = place.clientWidth < 480;
    const layout = Object.assign({}, figure.layout, { autosize: true });
    layout.height = Math.max(narrow ? 380 : 440, figure.layout.height || 0);
    Plotly.react(place, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: !narrow && "hover" });
    place.dataset.drawn = theme;
  }

  function fail(error) {
    places.forEach((place) => { place.textContent = "This figure was not drawn (" + error + "); the tables hold its numbers."; });
  }

  async function start() {
    const script = document.createElement("script");
    script.textContent = await unpack("plotly-js");
    document.head.append(script);
    figures = JSON.parse(await unpack("figures"));
    const near = new IntersectionObserver((entries) => {
      entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target));
    }, { rootMargin: "400px" });
    places.forEach((place) => near.observe(place));
    const again = () => places.filter((place) => place.dataset.drawn).forEach(draw);
    dark.addEventListener("change", again);
    window.addEventListener("beforeprint", () => { printing = true; places.forEach(draw); });
    window.addEventListener("afterprint", () => { printing = false; again(); });
    document.documentElement.dataset.ready = "yes";
  }

  if (!("DecompressionStream" in window)) fail("this browser cannot unpack it");
  else start().catch(fail);
})();
