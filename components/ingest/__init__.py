"""Photos and masks in, spans of TFRecords out: `sources` pairs files, `reader` trusts nothing, `beam` writes."""
