// Draws the figures of a page from the JSON beside them, in the colours of the page.
"use strict";
(function () {
  function colours() {
    const style = getComputedStyle(document.documentElement);
    return { ink: style.getPropertyValue("--ink").trim(), line: style.getPropertyValue("--line").trim() };
  }
  function themed(layout) {
    const colour = colours();
    const own = Object.assign({}, layout, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: Object.assign({}, layout.font, { color: colour.ink }),
    });
    if (window.innerWidth < 700) {
      own.legend = Object.assign({}, layout.legend, { orientation: "h", y: -0.25 });
      own.margin = { l: 50, r: 10, t: 20, b: 60 };
    }
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis/.test(name)) {
        own[name] = Object.assign({}, layout[name], { gridcolor: colour.line, zerolinecolor: colour.line, linecolor: colour.line });
      }
    }
    return own;
  }
  function draw() {
    for (const box of document.querySelectorAll(".plot")) {
      const data = JSON.parse(document.getElementById(box.dataset.figure).textContent);
      Plotly.react(box, data.data, themed(data.layout), { displayModeBar: false, responsive: true });
    }
  }
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
