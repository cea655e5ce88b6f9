"""The Streamlit app: a view of the core in `pmsi`, which never imports it.

server     the command that serves the app; warm-up
main       page configuration and navigation
session    the only file with st.cache_* and session keys
views      one file a page
panels     image picker, run picker, error panel: show(key) → value
forms      a widget per config field (`fields`, and `trainform` for the fields of training)
rundetail  one run on the screen (`results`, `wording`, `run_session`)
sweeps     robustness sweeps: starting one, and its curves
tables     a filled table → HTML (`comparing`: what can be compared; `queueing`: what a table still needs)
charts     numbers → figure; `curves` does it for runs
images     pictures → encoded bytes
palette    colours, and the layout that all figures share
"""
