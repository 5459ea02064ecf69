"""The column of what the images alone say, beside a map that ends with a spatial stack."""

from damage_ssl.products.table import assessed_footprints
from tests.products.test_table import BINARY, binary_predictions, footprints, index, labels


def test_what_the_images_alone_say_is_handed_over_where_a_run_has_it() -> None:
    said = binary_predictions()
    table, older = (
        assessed_footprints(
            footprints(), index(), each, labels(), scheme=BINARY, threshold=0.7, run_id="run1", method="by hand"
        ).set_index("building_id")
        for each in (said.assign(p_damaged_image=0.25), said)
    )
    assert table["p_damaged_image"].dropna().to_dict() == dict.fromkeys(said["building_id"], 0.25)
    assert older["p_damaged_image"].isna().all() and older["p_damaged"].equals(table["p_damaged"])
