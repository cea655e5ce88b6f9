const dark = matchMedia("(prefers-color-scheme: dark)");
const config = {displayModeBar: false, responsive: true};

/** The colours of text as the page has them now. */
function theme() {
  const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--ink");
  return {
    "font.color": ink, "font.family": "system-ui, sans-serif",
    "hoverlabel.bgcolor": style.getPropertyValue("--page"), "hoverlabel.font.color": ink,
  };
}

/** Which traces are shown of a figure whose reader has made this choice. */
const shown = (figure, choice) => figure.data.map(trace => !trace.meta?.length || trace.meta.includes(choice));

function draw(place) {
  if (place.drawn) return;
  place.drawn = true;
  const figure = figures[place.dataset.figure];
  const select = document.querySelector(`select[data-of="${place.dataset.figure}"]`);
  if (select) {
    shown(figure, select.value).forEach((visible, i) => { figure.data[i].visible = visible; });
    select.onchange = () => Plotly.restyle(place, {visible: shown(figure, select.value)});
  }
  Plotly.newPlot(place, figure.data, figure.layout, config).then(() => Plotly.relayout(place, theme()));
  if (figure.squares) place.on("plotly_click", event => open(place, event.points[0].customdata));
}

/** Show the images behind a square of a confusion matrix. */
function open(place, [row, column]) {
  const {title, images, more} = figures[place.dataset.figure].squares[`${row}-${column}`];
  const element = (tag, parent, text = "") => parent.appendChild(Object.assign(document.createElement(tag), {textContent: text}));
  const opened = document.getElementById(`opened-${place.dataset.figure}`);
  opened.replaceChildren();
  element("h4", opened, title);
  const pictured = images.some(image => image.src);
  const list = element(pictured ? "div" : "ul", opened);
  for (const image of images) {
    if (!pictured) { element("li", list, image.words); continue; }
    const figure = element("figure", list);
    Object.assign(element("img", figure), {src: image.src, alt: image.words});
    element("figcaption", figure, image.words);
  }
  if (more) element("p", opened, `and ${more} more image${more > 1 ? "s" : ""}`).className = "note";
}

const places = [...document.querySelectorAll("[data-figure]")];
const watcher = new IntersectionObserver(
  seen => seen.filter(entry => entry.isIntersecting).forEach(entry => draw(entry.target)), {rootMargin: "400px"});
places.forEach(place => watcher.observe(place));
dark.addEventListener("change", () => places.filter(place => place.drawn).forEach(place => Plotly.relayout(place, theme())));
addEventListener("beforeprint", () => places.filter(place => place.offsetParent).forEach(draw));
