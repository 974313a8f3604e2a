"""What a run leaves for people: figures and pictures, made from stored records after the run, whatever became of it."""

PAGE, FIGURES, PICTURE, STRIPS = "report.html", "report.json", "predictions.png", "strips.json"
"""Files in the folder of a run's report."""
