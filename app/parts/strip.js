// G(x, r) of an image for r = 0, 1, … side by side, for any layout, without the server. See app/views/mosaic/strip.py.
export default function ({ data, parentElement: root, setStateValue }) {
  const find = (name) => root.querySelector(name);
  const state = root.pmsi ??= { timer: 0, image: null };
  if (state.link !== data.link) Object.assign(state, data.start, { link: data.link });
  lay();
  const number = find(".number input"), range = find(".drag input"), borders = find(".borders input");
  const last = data.layouts[state.permutation].length - 1;
  number.max = range.max = last;

  // Once: what is replaced while a mouse button is down gets no click.
  function lay() {
    if (find("figure")) return;
    find(".choices").replaceChildren(...Object.entries(data.permutations).map(([name, title]) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: title, title: data.help });
      button.setAttribute("role", "radio");
      button.dataset.name = name;
      return button;
    }));
    find(".legend").replaceChildren(...data.colors.map((color, k) => {
      const mark = document.createElement("span"), line = document.createElement("i");
      line.style.background = color;
      mark.append(line, `recursion ${k + 1}`);
      return mark;
    }), data.legend);
    find(".pictures").replaceChildren(...data.captions.map(([name, words]) => {
      const figure = document.createElement("figure"), title = document.createElement("b");
      title.textContent = name;
      figure.innerHTML = '<div class="picture"><canvas role="img"></canvas>' +
        '<svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true"></svg></div><figcaption></figcaption>';
      figure.querySelector("figcaption").append(title, words);
      figure.querySelector("figcaption").title = data.meaning;
      return figure;
    }));
  }

  function paint(canvas, sources) {
    const grid = Math.sqrt(sources.length), side = state.image.naturalWidth / grid, context = canvas.getContext("2d");
    if (canvas.width !== state.image.naturalWidth) canvas.width = canvas.height = state.image.naturalWidth;
    sources.forEach((from, to) => {
      const place = (cell) => [(cell % grid) * side, Math.floor(cell / grid) * side];
      context.drawImage(state.image, ...place(from), side, side, ...place(to), side, side);
    });
  }

  function show() {
    number.value = range.value = state.seed;
    borders.checked = state.borders;
    root.querySelectorAll(".choices button").forEach((button) => {
      button.setAttribute("aria-checked", button.dataset.name === state.permutation);
    });
    find(".legend").hidden = !state.borders;
    if (!state.image?.complete) return;
    const recursions = recursionsOf(data.layouts[state.permutation][state.seed], data.orders[state.permutation]);
    const sources = sourcesOf(recursions);
    root.querySelectorAll("figure").forEach((figure, r) => {
      const canvas = figure.querySelector("canvas");
      paint(canvas, sources[r]);
      canvas.setAttribute("aria-label", `${data.title}, mosaic with r = ${r}`);
      const next = 0 < r && r < recursions.length ? r : null;
      figure.querySelector("svg").innerHTML = state.borders ? marks(recursions, data.colors, r, next) : "";
    });
    // For the other parts of the page, such as the steps.
    window.pmsiMosaic = { seed: state.seed, image: data.image, borders: state.borders, recursions, sources };
    window.dispatchEvent(new Event("pmsi-mosaic"));
  }

  // The server follows when the visitor rests: it has the code, the files, and the address of the page to change.
  function choose(change) {
    Object.assign(state, change);
    show();
    clearTimeout(state.timer);
    const { link, seed, permutation, borders } = state;
    state.timer = setTimeout(() => setStateValue("chosen", { link, seed, permutation, borders }), 250);
  }

  const seed = (value) => choose({ seed: Math.min(last, Math.max(0, Math.round(value))) });
  const draw = () => {
    const other = Math.floor(Math.random() * last);
    seed(other < state.seed ? other : other + 1); // any layout but this one
  };
  const acts = { less: () => seed(state.seed - 1), more: () => seed(state.seed + 1), draw };
  root.querySelectorAll("[data-do]").forEach((button) => { button.onclick = acts[button.dataset.do]; });
  number.oninput = () => { if (number.value !== "" && number.checkValidity()) seed(number.valueAsNumber); };
  number.onchange = show;
  range.oninput = () => seed(range.valueAsNumber);
  borders.onchange = () => choose({ borders: borders.checked });
  root.querySelectorAll(".choices button").forEach((button) => {
    button.onclick = () => choose({ permutation: button.dataset.name });
  });
  state.show = show;
  if (state.image?.src !== data.image) {
    state.image = new Image();
    state.image.onload = () => state.show();
    state.image.src = data.image;
  }
  show();
}
