export default function({ data, parentElement }) {
  const root = parentElement.querySelector('.player');
  const slider = root.querySelector('input'), output = root.querySelector('output');
  const play = root.querySelector('.play'), body = root.querySelector('.body');
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
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
  slider.max = last;
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
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.textContent = '▶'; play.ariaLabel = 'Play'; };
  const step = (by) => { stop(); show(Math.min(last, Math.max(0, Number(slider.value) + by))); };
  const toggle = () => {
    if (timer) return stop();
    if (Number(slider.value) === last) show(0);
    play.textContent = '❚❚'; play.ariaLabel = 'Pause';
    timer = setInterval(() => {
      const at = Number(slider.value) + 1;
      if (at > last) stop(); else show(at);
    }, calm ? 1800 : 700);
  };
  slider.oninput = () => { stop(); show(Number(slider.value)); };
  play.onclick = toggle;
  root.querySelector('.back').onclick = () => step(-1);
  root.querySelector('.on').onclick = () => step(1);
  root.onkeydown = (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (event.target.tagName === 'BUTTON' && event.key === ' ') return;
    if (event.key === ' ') toggle();
    else if (by) step(by);
    else if (event.key === 'Home') step(-last);
    else if (event.key === 'End') step(last);
    else return;
    event.preventDefault();
  };
  stop();
  show(Math.min(Number(root.dataset.at || 0), last));
  return () => clearInterval(timer);
}
