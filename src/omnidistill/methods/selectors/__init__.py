"""Coresets and prototypes: which N rows of the training set to use, or which N averages; `selectors` lists them.

One choice of rows serves every modality. Selectors compare rows by their joint embedding at the starting heads,

    J_i = concat_m z_im / sqrt(M),        k(i, j) = <J_i, J_j> = mean_m <z_im, z_jm>,        z = W x / ||W x||

Memory grows with n, not with n^2: blocks of rows are compared, within `chunk_bytes`.
"""

from omnidistill.methods.selectors.selector import AnySelector, RowSelector, Selection, Selector, selectors

__all__ = ["AnySelector", "RowSelector", "Selection", "Selector", "selectors"]
