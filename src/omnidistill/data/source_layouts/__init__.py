"""Layouts, the formats in which other tools store data. `open_layout` selects the layout that matches a source.

Each layout is implemented in one module of this package:

embedding-folder    img_emb/img_emb_0.npy, text_emb/text_emb_0.npy, metadata/metadata_0.parquet (clip-retrieval)
arrow               Hugging Face datasets: folders of save_to_disk, Parquet and Arrow files, `Dataset`, hub:OWNER/NAME
shards              00000.tar with KEY.jpg, KEY.txt, KEY.json (webdataset, img2dataset)
"""

from omnidistill.data.source_layouts.layout import (
    Choice,
    Item,
    Layout,
    Media,
    Source,
    StoredFeatures,
    as_source,
    layouts,
    open_layout,
)

__all__ = [
    "Choice",
    "Item",
    "Layout",
    "Media",
    "Source",
    "StoredFeatures",
    "as_source",
    "layouts",
    "open_layout",
]
