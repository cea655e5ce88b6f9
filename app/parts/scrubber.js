// The bar of a player: a slider over frames, with buttons and keys that step and play; `show(at)` draws a frame.
const scrubber = (root, last, show) => {
  const slider = root.querySelector('input'), play = root.querySelector('.play');
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  slider.max = last;
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
  return () => clearInterval(timer);
};
