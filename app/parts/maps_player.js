export default function({ data, parentElement }) {
  const root = parentElement.querySelector('.player');
  const slider = root.querySelector('input'), output = root.querySelector('output');
  const body = root.querySelector('.body');
  const add = (parent, tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text) element.textContent = text;
    parent.append(element);
    return element;
  };
  body.replaceChildren();
  const shown = data.runs.map((run) => {
    const title = add(body, 'div', 'run', run.title + ' ');
    title.style.borderColor = run.color;
    const verdict = add(title, 'span');
    const row = add(body, 'div', 'row');
    const images = data.columns.map((column) => {
      const figure = add(row, 'figure');
      const image = add(figure, 'img');
      const caption = add(figure, 'figcaption');
      if (column.color) add(caption, 'i').style.background = column.color;
      add(caption, 'span', '', column.name);
      return image;
    });
    return { verdict, images };
  });
  const last = data.frames.length - 1;
  const show = (at) => {
    const frame = data.frames[at];
    slider.value = at;
    slider.setAttribute('aria-valuetext', frame.label);
    output.textContent = frame.label;
    shown.forEach((run, i) => {
      run.verdict.textContent = frame.runs[i].verdict;
      run.images.forEach((image, k) => {
        image.src = frame.runs[i].images[k];
        image.alt = `${data.columns[k].name}, ${frame.label}, ${data.runs[i].title}`;
      });
    });
  };
  const leave = scrubber(root, last, show);
  show(Math.min(Number(root.dataset.at || 0), last));
  return leave;
}
