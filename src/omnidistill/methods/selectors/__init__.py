"""Coresets and prototypes: selectors return N training rows, or N averages of rows; `selectors` lists them by name.

The same rows are selected in all modalities. Selectors compare rows by their joint embeddings, computed with the
initial heads:

    J_i = concat_m z_im / sqrt(M),        k(i, j) = <J_i, J_j> = mean_m <z_im, z_jm>,        z = W x / ||W x||

Here z_im is the unit embedding of row i in modality m, and k the similarity of two rows. Memory grows linearly with the
number of training rows: rows are compared in blocks of at most `omnidistill.core.memory.CHUNK_BYTES` bytes.
"""

from omnidistill.methods.selectors.selector import AnySelector, RowSelector, Selection, Selector, selectors

__all__ = ["AnySelector", "RowSelector", "Selection", "Selector", "selectors"]
