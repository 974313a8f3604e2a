"""The masks of batch inference as sharded records that need no segpipe to be read."""
