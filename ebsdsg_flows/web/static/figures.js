// Draws the figures of a page from the JSON beside them, on light or dark as the reader's system is.
"use strict";
(function () {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const templates = JSON.parse(document.getElementById("figure-templates").textContent);
  function draw() {
    for (const box of document.querySelectorAll(".plot")) {
      const data = JSON.parse(document.getElementById(box.dataset.figure).textContent);
      data.layout.template = dark.matches ? templates.dark : templates.light;
      // the page has the title above
      data.layout.margin = Object.assign({}, templates.light.layout.margin, data.layout.margin, { t: 12 });
      box.style.minHeight = data.layout.height ? data.layout.height + "px" : "";
      Plotly.react(box, data.data, data.layout, { displayModeBar: false, responsive: true });
    }
  }
  draw();
  dark.addEventListener("change", draw);
  document.body.addEventListener("htmx:afterSwap", draw);
})();
