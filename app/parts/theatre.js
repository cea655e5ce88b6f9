export default function({ data, parentElement }) {
  const root = parentElement.querySelector('.theatre');
  const slider = root.querySelector('input'), output = root.querySelector('output');
  const add = (parent, tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text) element.textContent = text;
    parent.append(element);
    return element;
  };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const colors = bytes(data.colors);
  const runs = root.querySelector('.runs'), cards = root.querySelector('.cards');
  runs.replaceChildren();
  cards.replaceChildren();
  const scores = data.runs.map((run) => {
    const line = add(runs, 'div', '', `${run.title}: `);
    line.style.borderColor = run.color;
    return add(line, 'b');
  });
  const shown = data.images.map((image) => {
    const card = add(cards, 'section', 'card');
    add(card, 'h4', '', image.name);
    return data.runs.map((run) => {
      const row = add(card, 'div', 'row');
      const picture = (name, alt) => {
        const tile = add(row, 'div', name);
        const drawn = add(tile, 'img');
        drawn.src = image.picture;
        drawn.alt = alt;
        return tile;
      };
      picture('tile', `A test image of ${image.name}`);
      const maps = data.stages.map((stage) => {
        const tile = picture('tile map', '');
        const canvas = add(tile, 'canvas');
        add(tile, 'span', '', stage);
        return { tile, canvas };
      });
      const said = add(card, 'div', 'said');
      said.style.borderColor = run.color;
      return { maps, said };
    });
  });
  const paint = ({ tile, canvas }, stage, map, top) => {
    const values = bytes(map.values), side = Math.sqrt(values.length), drawn = new ImageData(side, side);
    values.forEach((value, i) => {
      const color = 3 * Math.min(255, Math.round(top ? value * map.peak / top : 0));
      for (let k = 0; k < 3; k += 1) drawn.data[4 * i + k] = colors[color + k];
      drawn.data[4 * i + 3] = 255;
    });
    canvas.width = canvas.height = side;
    canvas.getContext('2d').putImageData(drawn, 0, 0);
    tile.title = map.peak ? `${stage}: peak ${map.peak.toPrecision(3)}` : `${stage}: no positive evidence`;
  };
  const last = data.moments.length - 1;
  const show = (at) => {
    const moment = data.moments[at];
    slider.value = root.dataset.at = at;
    root.dataset.newest = at === last;
    slider.setAttribute('aria-valuetext', moment.label);
    output.textContent = moment.label;
    moment.runs.forEach((run, r) => {
      scores[r].textContent = run.score;
      run.images.forEach((image, i) => {
        const { maps, said } = shown[i][r];
        const peak = Math.max(...image.maps.map((map) => map.peak));
        image.maps.forEach((map, k) => paint(maps[k], data.stages[k], map, data.own ? map.peak : peak));
        said.replaceChildren();
        add(said, 'b', '', `${image.right ? '✓' : '✗'} ${image.name}`);
        for (const head of image.heads) add(said, 'span', '', `${head.name} ${head.right ? '✓' : '✗'}`).title = head.said;
      });
    });
  };
  const leave = scrubber(root, last, show);
  // While the run works, a visitor who watches the newest moment goes on to the next; another one stays.
  show(root.dataset.newest === 'false' ? Math.min(Number(root.dataset.at), last) : last);
  return leave;
}
