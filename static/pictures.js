// Saves the chart above as a picture. Streamlit keeps plotly.js to itself, so its own camera button is pressed, which
// reads format and file name when it is; where the chart is still being drawn, as soon as it is.
const PATIENCE_MS = 30000;

export default function ({ parentElement, data }) {
  const find = () => {
    const chart = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    const camera = chart?.querySelector('.modebar-btn[data-title^="Download plot"]');
    return camera && chart._context ? { chart, camera } : null;
  };
  const press = async (button) => {
    const deadline = Date.now() + PATIENCE_MS;
    let found = find();
    button.setAttribute("aria-busy", String(!found));
    while (!found && button.isConnected && Date.now() < deadline) {
      await new Promise((wake) => setTimeout(wake, 50));
      found = find();
    }
    button.removeAttribute("aria-busy");
    if (!found) return;
    const { chart, camera } = found;
    const format = button.dataset.format;
    const before = chart._context.toImageButtonOptions;
    chart._context.toImageButtonOptions = { format, filename: data.file, scale: format === "png" ? 2 : 1 };
    camera.click();
    chart._context.toImageButtonOptions = before;
  };
  for (const button of parentElement.querySelectorAll("button")) {
    button.setAttribute("aria-label", `Save the chart as ${button.textContent}`);
    button.onclick = () => press(button);
  }
}
