import pytest

from omnidistill.core.errors import InputError
from omnidistill.data.names import check_modality_names, check_split_names, nearest


def test_a_wrong_name_is_answered_with_the_nearest_one():
    assert nearest("Trian", ("train", "test")) == "; did you mean 'train'?"
    assert nearest("id", ("ID", "set")) == "; did you mean 'ID'?"
    assert nearest("qqq", ("train", "test")) == ""
    assert nearest("nonsense", ("seed", "method")) == ""
    assert nearest("itertions", ("iterations",), prefix="distill.") == "; did you mean 'distill.iterations'?"
    with pytest.raises(InputError, match=r"'validtion'.*heads, train, validation, test; did you mean 'validation'"):
        check_split_names(["train", "validtion"])


@pytest.mark.parametrize("name", ["", "../a", ".hidden", "a/b", "a b", "a\nb", "-a"])
def test_modality_names_that_could_leave_a_folder_or_a_line_are_refused(name):
    with pytest.raises(InputError, match="this name is not allowed"):
        check_modality_names(["fine-1.0+x", "_y", "画像", name])
