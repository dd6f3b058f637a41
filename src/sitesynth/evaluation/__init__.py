"""How well strategies classify patients of external sites, and how sure we are of it."""
