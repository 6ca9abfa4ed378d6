"""A LUMIERE folder, its zip, or its tables alone → a cohort of cases with every exclusion named and counted."""
