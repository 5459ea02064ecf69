"""The analyst's app: pages lay out, `damage_ssl` computes."""
