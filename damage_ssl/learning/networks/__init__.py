"""From a pair to class logits."""
