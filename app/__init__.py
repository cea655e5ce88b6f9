"""The Streamlit app: a view of the core in `pmsi`, which never imports it.

server     the command that serves the app; warm-up
main       page configuration and navigation
resources  what all visitors share; the only place with st.cache_*
session    the choices of one visitor, in the session and in the URL
access     what visitors may do: reading, writing, logging in
views      one file a page
panels     image picker, run picker, error panel: show(key) → value
forms      a widget per config field (`fields`, and `trainform` for the fields of training)
rundetail  one run on the screen (`results`, `wording`, `run_session`)
measuring  trials that a visitor asks for, remembered in the session (`trials`: one in a process of its own)
bench      one image perturbed live, for one run or two
sweeps     robustness sweeps: watching one (`sweepform`: filling one in; `sweepreport`, `sweepimages`: what one found)
tables     a filled table → HTML (`comparing`: what can be compared; `queueing`: what a table still needs)
charts     numbers → figure; `curves` does it for runs
images     pictures → encoded bytes
palette    colours, and the layout that all figures share
"""
