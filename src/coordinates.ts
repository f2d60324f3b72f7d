/**
 * What the models of a family count as the whole width and the whole height of an image when they write coordinates: a
 * number, such as 1000, or `seen`: the pixels of the image as the model sees it.
 */
export type Coordinates = number | 'seen'
