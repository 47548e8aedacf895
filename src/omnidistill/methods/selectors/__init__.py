"""Coresets and prototypes: a selector returns N training rows, or N averages of rows. `selectors` lists them by name.

The same rows are selected in all modalities. Let z_im be the unit embedding of row i in modality m, computed with the
initial heads, and let M be the number of modalities. Rows are compared by their joint embeddings J_i and the
similarity k of two rows:

    J_i = concat_m z_im / sqrt(M),        k(i, j) = <J_i, J_j> = mean_m <z_im, z_jm>

Rows are compared in blocks of at most `omnidistill.core.memory.CHUNK_BYTES` bytes, so memory grows only linearly with
the number of training rows.
"""

from omnidistill.methods.selectors.selector import AnySelector, RowSelector, Selection, Selector, selectors

__all__ = ["AnySelector", "RowSelector", "Selection", "Selector", "selectors"]
