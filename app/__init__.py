"""The Streamlit app: a view of the core in `pmsi`, which never imports it.

main      page configuration and navigation
server    the command that serves the app, and what it loads before the first visitor comes
login     who may come in
shared/   what several pages use: caches of data, models and a run's own images; pickers; forms; charts; the session
views/    one folder a page: `page` draws it, the rest are its parts and its caches
parts/    what works in the browser without the server
"""
