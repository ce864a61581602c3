// Saves the chart above as a picture. Streamlit keeps plotly.js to itself, so its own camera button is pressed, which
// reads format and file name when it is.
export default function ({ parentElement, data }) {
  const press = (format) => {
    const chart = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    const camera = chart?.querySelector('.modebar-btn[data-title^="Download plot"]');
    if (!camera || !chart._context) return;
    const before = chart._context.toImageButtonOptions;
    chart._context.toImageButtonOptions = { format, filename: data.file, scale: format === "png" ? 2 : 1 };
    camera.click();
    chart._context.toImageButtonOptions = before;
  };
  for (const button of parentElement.querySelectorAll("button")) {
    button.setAttribute("aria-label", `Save the chart as ${button.textContent}`);
    button.onclick = () => press(button.dataset.format);
  }
}
