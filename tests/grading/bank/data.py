"""Right and wrong answers to the exercises of the chapter on the data."""

import numpy as np
import torch
import torch.nn.functional as F

from coursekit.grading.gradebook.bank import right, wrong

# --- data.sweep ---------------------------------------------------------------------------------


@right("data.sweep")
def loops(start, name, values):
    rows = {key: [] for key in start}
    for picture in range(len(start[name])):
        for value in values:
            for key, column in start.items():
                rows[key].append(value if key == name else column[picture])
    return {key: torch.stack(row) for key, row in rows.items()}


@right("data.sweep")
def by_broadcasting(start, name, values):
    n, k = len(start[name]), len(values)
    return {
        key: (values.expand(n, k) if key == name else column[:, None].expand(n, k)).reshape(-1)
        for key, column in start.items()
    }


@right("data.sweep")
def by_index(start, name, values):
    place = torch.arange(len(start[name]) * len(values))
    made = {key: column[place // len(values)] for key, column in start.items()}
    made[name] = values[place % len(values)]
    return made


@right("data.sweep")
def one_picture_after_the_other(start, name, values):
    parts = []
    for i in range(len(start[name])):
        line = {key: column[i].repeat(len(values)) for key, column in start.items()}
        line[name] = values.clone()
        parts.append(line)
    return {key: torch.cat([part[key] for part in parts]) for key in start}


@right("data.sweep")
def by_product(start, name, values):
    n = len(start[name])
    pairs = torch.cartesian_prod(torch.arange(n), torch.arange(len(values)))
    return {
        key: values[pairs[:, 1]] if key == name else column[pairs[:, 0]]
        for key, column in start.items()
    }


@right("data.sweep")
def by_numpy(start, name, values):
    made = {
        key: torch.from_numpy(np.repeat(column.numpy(), len(values)))
        for key, column in start.items()
    }
    made[name] = torch.from_numpy(np.tile(values.numpy(), len(start[name])))
    return made


@wrong("data.sweep", says="expected a dict of factors")
def a_tensor(start, name, values):
    return values.repeat(len(start[name]))


@wrong("data.sweep", says="is None")
def forgets_to_return(start, name, values):
    made = {key: column.repeat_interleave(len(values)) for key, column in start.items()}
    made[name] = values.repeat(len(start[name]))


@wrong("data.sweep", says="expected torch.int64")
def floats_for_a_choice(start, name, values):
    made = {}
    for key, column in start.items():
        made[key] = torch.zeros(len(column) * len(values))
        made[key][:] = column.repeat_interleave(len(values))
    made[name] = values.repeat(len(start[name]))
    return made


@wrong("data.sweep", says="has shape (4,); expected (12,)")
def one_picture_only(start, name, values):
    made = {key: column[:1].repeat(len(values)) for key, column in start.items()}
    made[name] = values
    return made


@wrong("data.sweep", says="which `start` has not")
def a_key_too_many(start, name, values):
    made = {key: column.repeat_interleave(len(values)) for key, column in start.items()}
    made[name] = values.repeat(len(start[name]))
    return {**made, "values": values}


@wrong("data.sweep", says="has shape (3, 4)")
def keeps_two_axes(start, name, values):
    n, k = len(start[name]), len(values)
    return {
        key: values.expand(n, k) if key == name else column[:, None].expand(n, k)
        for key, column in start.items()
    }


@wrong("data.sweep", says="factor '")
def first_picture_for_all(start, name, values):
    n, k = len(start[name]), len(values)
    made = {key: column[:1].expand(n * k) for key, column in start.items()}
    made[name] = values.repeat(n)
    return made


# --- data.center --------------------------------------------------------------------------------


@right("data.center")
def by_meshgrid(images):
    light = images.squeeze(1).double()
    h, w = light.shape[1:]
    down, across = torch.meshgrid(
        torch.arange(h) + 0.5 - h / 2, torch.arange(w) + 0.5 - w / 2, indexing="ij"
    )
    share = light / light.sum(dim=(1, 2), keepdim=True)
    return (share * across).sum(dim=(1, 2)), (share * down).sum(dim=(1, 2))


@right("data.center")
def by_matrix_products(images):
    light = images[:, 0].float()
    h, w = light.shape[1:]
    total = light.flatten(1).sum(1)
    x = light.sum(1) @ torch.linspace(-(w - 1) / 2, (w - 1) / 2, w) / total
    y = light.sum(2) @ torch.linspace(-(h - 1) / 2, (h - 1) / 2, h) / total
    return x, y


@right("data.center")
def picture_by_picture(images):
    xs, ys = [], []
    for image in images:
        rows, columns = torch.nonzero(image[0], as_tuple=True)
        weight = image[0][rows, columns].float()
        xs.append((weight * columns).sum() / weight.sum() - (image.shape[2] - 1) / 2)
        ys.append((weight * rows).sum() / weight.sum() - (image.shape[1] - 1) / 2)
    return torch.stack(xs), torch.stack(ys)


@right("data.center")
def by_numpy_average(images):
    light = images[:, 0].numpy().astype(float)
    h, w = light.shape[1:]
    x = [np.average(np.arange(w), weights=picture.sum(0)) - (w - 1) / 2 for picture in light]
    y = [np.average(np.arange(h), weights=picture.sum(1)) - (h - 1) / 2 for picture in light]
    return torch.tensor(x), torch.tensor(y)


@right("data.center")
def by_einsum(images):
    light = images[:, 0].float() / 255
    h, w = light.shape[1:]
    total = torch.einsum("nhw->n", light)
    x = torch.einsum("nhw,w->n", light, torch.arange(w, dtype=torch.float)) / total
    y = torch.einsum("nhw,h->n", light, torch.arange(h, dtype=torch.float)) / total
    return x - (w - 1) / 2, y - (h - 1) / 2


@wrong("data.center", says="expected 2 results")
def x_alone(images):
    light = images[:, 0].float()
    w = light.shape[2]
    return (light.sum(1) * (torch.arange(w) - (w - 1) / 2)).sum(1) / light.sum((1, 2))


@wrong("data.center", says="has shape")
def one_number_per_row(images):
    light = images[:, 0].float()
    h, w = light.shape[1:]
    x = (light * (torch.arange(w) - (w - 1) / 2)).sum(2) / light.sum(2)
    return x, (light.sum(2) * (torch.arange(h) - (h - 1) / 2)).sum(1) / light.sum((1, 2))


@wrong("data.center", says="`x`")
def middle_of_the_box(images):
    on = images[:, 0] > 127
    xs, ys = [], []
    for picture in on:
        rows, columns = torch.nonzero(picture, as_tuple=True)
        if len(rows) == 0:
            rows, columns = torch.zeros(1), torch.zeros(1)
        xs.append((columns.min() + columns.max()) / 2 - (on.shape[2] - 1) / 2)
        ys.append((rows.min() + rows.max()) / 2 - (on.shape[1] - 1) / 2)
    return torch.stack(xs).float(), torch.stack(ys).float()


@wrong("data.center", says="`x`")
def as_a_share_of_the_width(images):
    light = images[:, 0].float()
    h, w = light.shape[1:]
    x = light.sum(1) @ torch.linspace(-0.5, 0.5, w) / light.sum((1, 2))
    return x, light.sum(2) @ torch.linspace(-0.5, 0.5, h) / light.sum((1, 2))


@wrong("data.center", says="size")
def only_for_twelve_pixels(images):
    light = images[:, 0].float()
    at = torch.arange(12) - 5.5
    total = light.sum((1, 2))
    return (light.sum(1) * at).sum(1) / total, (light.sum(2) * at).sum(1) / total


# --- data.thickness -----------------------------------------------------------------------------


@right("data.thickness")
def smooth_outline(images):
    ink = images[:, 0].double() / 255
    across = ink[:, :-1, 1:] - ink[:, :-1, :-1]
    down = ink[:, 1:, :-1] - ink[:, :-1, :-1]
    return 2 * ink.sum((1, 2)) / torch.hypot(across, down).sum((1, 2))


@right("data.thickness")
def share_of_white_among_lit(images):
    return (images > 250).sum((1, 2, 3)) / (images > 5).sum((1, 2, 3))


@right("data.thickness")
def mean_of_the_lit_pixels(images):
    return images.float().sum((1, 2, 3)) / (images > 0).sum((1, 2, 3))


@right("data.thickness")
def what_erosion_leaves(images):
    ink = images.float()
    inner = -F.max_pool2d(-ink, 3, 1, 1)
    return inner.sum((1, 2, 3)) / ink.sum((1, 2, 3))


@right("data.thickness")
def light_among_neighbors(images):
    ink = images.float() / 255
    near = F.avg_pool2d(ink, 3, 1, 1)
    return (ink * near).sum((1, 2, 3)) / ink.sum((1, 2, 3))


@right("data.thickness")
def mean_length_of_runs(images):
    lit = images[:, 0] > 127
    rows = (lit[:, :, 1:] & ~lit[:, :, :-1]).sum((1, 2)) + lit[:, :, 0].sum(1)
    columns = (lit[:, 1:] & ~lit[:, :-1]).sum((1, 2)) + lit[:, 0].sum(1)
    return lit.sum((1, 2)) / (rows + columns)


@right("data.thickness")
def layers_until_nothing_is_left(images):
    left = (images > 127).float()
    layers = torch.zeros(len(images))
    first = left.sum((1, 2, 3))
    for _ in range(12):
        layers = layers + left.sum((1, 2, 3))
        left = -F.max_pool2d(-left, 3, 1, 1)
    return layers / first


@wrong("data.thickness", says="the correlation with the true thickness is 0.7")
def ink_per_box(images):
    lit = images[:, 0] > 127
    size = lit.any(2).sum(1) + lit.any(1).sum(1)
    return images.float().sum((1, 2, 3)) / size


@wrong("data.thickness", says="This is the amount of ink")
def mean_brightness(images):
    return images.float().mean(dim=(1, 2, 3)) / 255


@wrong("data.thickness", says="has shape ()")
def one_number_for_all(images):
    return images.float().mean()


@wrong("data.thickness", says="the same for all")
def a_constant(images):
    return torch.full((len(images),), 2.5)


@wrong("data.thickness", says="Measure one digit alone")
def centered_on_the_batch(images):
    found = images.float().sum((1, 2, 3)) / (images > 0).sum((1, 2, 3))
    return found - found.mean()


@wrong("data.thickness", says="Try digits of 56x56")
def for_one_size(images):
    ink = images.reshape(-1, 28, 28).float()
    near = F.avg_pool2d(ink[:, None], 3, 1, 1)[:, 0]
    return (ink * near).sum((1, 2)) / ink.sum((1, 2))
