"""Words of captions as ids."""

from recipes.text.words import SPECIAL, encode


def test_captions_of_mirror_images_exchange_left_and_right():
    vocabulary = [*SPECIAL, "dog", "left", "of", "right"]
    texts = [["Dog left of a dog."]]
    ((ids,),) = encode(vocabulary, texts, 9)
    assert ids.tolist() == [1, 4, 5, 6, 3, 4, 2]
    ((ids,),) = encode(vocabulary, texts, 9, mirrored=True)
    assert ids.tolist() == [1, 4, 7, 6, 3, 4, 2]
    ((ids,),) = encode(vocabulary, texts, 3)
    assert ids.tolist() == [1, 4, 5, 6]  # cut: no end
