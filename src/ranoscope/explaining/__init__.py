"""What a network looked at: maps, figures and a record for example cases of a trained run."""
