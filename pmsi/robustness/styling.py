"""The style sheet of a report in HTML: light and dark as the reader has it, and for print. It knows no report."""

STYLE = """\
:root{color-scheme:light dark;--ink:#1b2027;--page:#fff;--line:#d7dce2;--soft:#5d6671}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--page:#14181d;--line:#3a424c;--soft:#9aa4b0}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.8rem;margin:.5rem 0}
h2{font-size:1.3rem;margin:2.4rem 0 .3rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{max-width:72ch;margin:.4rem 0}
small,.note,figcaption{color:var(--soft);font-size:.84rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--line);overflow-wrap:break-word}
thead th{font-weight:600;white-space:nowrap}
.facts th{font-weight:400;color:var(--soft);white-space:nowrap}
.facts td{overflow-wrap:anywhere}
.legend{list-style:none;padding:0}
.legend i{display:inline-block;width:.8rem;height:.8rem;border-radius:50%;margin-right:.5rem}
.wide{overflow-x:auto}
.wide td{white-space:nowrap}
details{margin:.4rem 0}
summary{cursor:pointer;color:var(--soft)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:1rem}
svg{width:100%;height:auto}
svg text{fill:var(--soft);font-size:12px}
svg .grid{stroke:var(--line);fill:none}
.flips{display:flex;flex-wrap:wrap;gap:.8rem}
figure{margin:0;width:264px}
figure img{border-radius:.3rem;margin-right:4px;width:128px;height:128px}
section{break-inside:auto}
figure,svg,tr{break-inside:avoid}
@media print{:root{--ink:#000;--page:#fff;--line:#bbb;--soft:#444}main{max-width:none;padding:0}}
"""
