"""Evaluation reports: tables of figures, model card, pages and contact sheets."""
