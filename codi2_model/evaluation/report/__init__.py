"""Evaluation reports: figures, model card, pages and contact sheets."""
