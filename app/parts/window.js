// The window around the pages: one entry of the history for each visit of a page, the menu's section, a drawer that closes.
export default function ({ data }) {
  const window_ = (window.pmsiWindow ??= { push: history.pushState.bind(history) });
  window_.places = data.places;

  // Streamlit adds an entry whenever the address changes. What is chosen on a page replaces the page's own instead.
  history.pushState = (state, title, address) => {
    const from = new URL(location.href), to = new URL(address ?? from, from);
    const names = window_.places[to.pathname.split("/").pop()] ?? [];
    const stays = from.pathname === to.pathname
      && names.every((name) => from.searchParams.get(name) === to.searchParams.get(name));
    stays ? history.replaceState(state, title, address) : window_.push(state, title, address);
  };

  // Not if the visitor has already gone on, to another page or on this one.
  const sorted = (query) => [...new URLSearchParams(query)].map(String).sort().join("&");
  const here = (!data.page || location.pathname.split("/").pop() === data.page)
    && sorted(location.search) === sorted(data.before);
  if (here && data.query) {
    history.replaceState(history.state, "", `?${data.query}`);
  }

  document.querySelectorAll('[data-testid="stTopNavSection"]').forEach((menu) => {
    menu.setAttribute("aria-current", menu.textContent === data.section);
  });

  const close = (event) => {
    if (innerWidth < 768 && event.target.closest?.('[data-testid="stSidebarNavLink"]')) {
      document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
    }
  };
  document.addEventListener("click", close);
  return () => document.removeEventListener("click", close);
}
