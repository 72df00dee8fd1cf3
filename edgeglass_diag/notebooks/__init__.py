"""What a notebook shows of a run, its findings and the reports: one document, as HTML and as Markdown. No torch."""
