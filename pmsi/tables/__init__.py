"""The paper's tables, filled from finished runs beside the printed numbers.

`expand` returns the training runs that a table needs, `fill` reads those that a runs folder has, and `as_text`,
`as_markdown`, `as_latex`, `as_csv` and `as_json` format it. `protocols` finds the base configs of which a folder has
runs. `pmsi.tables.needed` starts the runs that a table needs.
"""

from pmsi.tables.definitions import TABLES, Cell, Part, Sets, Table, TableRow, expand, set_title
from pmsi.tables.export import FORMATS, as_csv, as_json, as_latex, as_markdown, as_text, records
from pmsi.tables.filling import EPOCHS, Entry, Filled, FilledCell, Images, check_epoch, fill, seeds_from
from pmsi.tables.protocols import data_sets, found_seeds, protocols
from pmsi.tables.rows import cell_text, notes, title
