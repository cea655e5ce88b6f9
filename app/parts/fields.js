// Receptive fields at a position of the image that one can move, without the server. See app/views/mosaic/receptive_fields.py.
export default function ({ data, parentElement: root }) {
  const find = (name) => root.querySelector(name);
  const state = root.pmsi ??= { at: data.at, chosen: data.chosen };
  const stage = find(".stage"), size = data.size;
  find("img").src = data.image;
  find("img").alt = data.title;
  find("svg").setAttribute("viewBox", `0 0 ${size} ${size}`);

  function remember() {
    const url = new URL(window.location.href);
    url.searchParams.set("at", state.at.map((part) => part.toFixed(3)).join(","));
    state.chosen ? url.searchParams.set("field", state.chosen) : url.searchParams.delete("field");
    window.history.replaceState(window.history.state, "", url);
  }

  function patches({ patch, color }) {
    if (!patch) return "";
    let path = "";
    for (let x = patch; x < size; x += patch) path += `M${x} 0V${size}M0 ${x}H${size}`;
    return `<path d="${path}" stroke="#10141a" stroke-width="3" vector-effect="non-scaling-stroke" opacity=".5"/>` +
      `<path d="${path}" stroke="${color}" stroke-width="1.5" vector-effect="non-scaling-stroke"/>`;
  }

  function show() {
    const [x, y] = state.at.map((part) => part * size);
    const chosen = data.stages.find(({ name }) => name === state.chosen);
    const squares = [...data.stages].sort((a, b) => b.field - a.field).map(({ name, field, color }) => {
      const wide = name === state.chosen, place = `x="${x - field / 2}" y="${y - field / 2}" width="${field}" height="${field}"`;
      return `<rect ${place} fill="${color}" fill-opacity="${wide ? .28 : .08}" stroke="#10141a" stroke-width="${wide ? 5 : 4}" stroke-opacity=".55"/>` +
        `<rect ${place} fill="none" stroke="${color}" stroke-width="${wide ? 3.5 : 2.2}"/>`;
    });
    find("svg").innerHTML = (chosen ? patches(chosen) : "") + squares.join("") +
      `<circle cx="${x}" cy="${y}" r="${size / 110}" fill="#fff" stroke="#10141a"/>`;
    find(".words").textContent = `What a place of each stage's map sees of the image, at ${Math.round(x)}, ${Math.round(y)} px.`;
    root.querySelectorAll(".list button").forEach((button) => {
      button.setAttribute("aria-pressed", button.dataset.stage === state.chosen);
    });
  }

  function rows() {
    find(".list").replaceChildren(...data.stages.map(({ name, color, words, verdict }) => {
      const button = document.createElement("button"), dot = document.createElement("i"), title = document.createElement("b");
      const text = document.createElement("span"), more = document.createElement("small");
      Object.assign(button, { type: "button" }).dataset.stage = name;
      dot.style.background = color;
      [title.textContent, text.textContent, more.textContent] = [name, words, verdict];
      button.append(dot, title, text, more);
      button.onclick = () => { state.chosen = state.chosen === name ? "" : name; show(); remember(); };
      return button;
    }));
  }

  const inside = (part) => Math.min(1, Math.max(0, part));
  const put = (x, y) => { state.at = [inside(x), inside(y)]; show(); };
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    put((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  stage.onpointerdown = (event) => { stage.setPointerCapture(event.pointerId); follow(event); };
  stage.onpointermove = (event) => { if (event.buttons) follow(event); };
  stage.onpointerup = remember;
  stage.onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const far = event.shiftKey ? .1 : .02;
    put(state.at[0] + way[0] * far, state.at[1] + way[1] * far);
    remember();
  };
  rows();
  show();
}
