"""What a run leaves for people: figures and pictures, made from stored records after the run, whatever became of it."""
