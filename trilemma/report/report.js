"use strict";
// Draws the charts of a report, on light or dark ground as the reader's system has it, and saves figures as files.
(() => {
  const PRINTED_WIDTH = 680; // A4 less its margins, in CSS pixels
  const PRINTED_HEIGHT = 440;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = read("trilemma-charts");
  const figures = read("trilemma-figures");
  const file = document.getElementById("trilemma-figures").dataset.file;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  // The browser that makes the PDF is told so by the address.
  const forPaper = window.location.hash === "#print";

  const config = (chart) => ({
    displaylogo: false,
    showSendToCloud: false,
    responsive: true,
    scrollZoom: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "toImage"],
    toImageButtonOptions: { format: "png", filename: chart.file, scale: 2 },
  });

  const draw = (onPaper) =>
    charts.map((chart) => {
      // plotly.js writes into what it is given.
      const figure = structuredClone(dark.matches && !onPaper ? chart.dark : chart.light);
      if (onPaper) {
        figure.layout.width = PRINTED_WIDTH;
        figure.layout.height = Math.min(figure.layout.height ?? PRINTED_HEIGHT, PRINTED_HEIGHT);
      }
      return Plotly.react(`chart-${chart.number}`, figure.data, figure.layout, config(chart));
    });

  const save = (name, content) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  const cell = (value) => {
    if (value === null || value === undefined) return "";
    let text = String(value);
    // A spreadsheet would run it as a formula.
    if (typeof value === "string" && figures.formulas_begin_with.some((one) => text.startsWith(one))) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  const csv = ({ columns, rows }) =>
    new Blob([[columns, ...rows].map((row) => row.map(cell).join(",")).join("\n"), "\n"], { type: "text/csv" });

  const savers = {
    csv: (chart) => save(`${chart.file}.csv`, csv(chart)),
    png: (chart) => Plotly.downloadImage(`chart-${chart.number}`, { format: "png", filename: chart.file, scale: 2 }),
    svg: (chart) => Plotly.downloadImage(`chart-${chart.number}`, { format: "svg", filename: chart.file }),
    configurations: () => save(`${file}-configurations.csv`, csv(figures.configurations)),
    measurements: () => save(`${file}-measurements.csv`, csv(figures.measurements)),
    json: () => save(`${file}.json`, new Blob([JSON.stringify(figures, null, 1)], { type: "application/json" })),
  };

  document.addEventListener("click", ({ target }) => {
    if (target.dataset.save) savers[target.dataset.save](charts[Number(target.dataset.chart)]);
  });
  for (const one of document.querySelectorAll(".save")) one.hidden = false;

  Promise.all(draw(forPaper)).then(() => {
    document.documentElement.dataset.drawn = "yes";
  });
  if (!forPaper) {
    dark.addEventListener("change", () => draw(false));
    window.addEventListener("beforeprint", () => draw(true));
    // plotly.js keeps the width of the sheet until it is told to look at the window again.
    window.addEventListener("afterprint", () =>
      Promise.all(draw(false)).then(() => charts.map((chart) => Plotly.Plots.resize(`chart-${chart.number}`))),
    );
  }
})();
