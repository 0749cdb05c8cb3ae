// A decoder in plain JavaScript. `spec.layers` says what the layers do, in order; `spec.floats`
// float32 numbers (bias and scale of each output channel) and then the int8 weights follow each
// other in `spec.weights`, base64. Arrays run as torch's do: channel, row, column.
function decoderOf(spec) {
  const bytes = Uint8Array.from(atob(spec.weights), (c) => c.charCodeAt(0));
  const floats = new Float32Array(bytes.buffer, 0, spec.floats);
  const whole = new Int8Array(bytes.buffer, 4 * spec.floats);
  let float = 0;
  let int = 0;

  // Weights (outer, inner) with the scale of the output channel; `channel` finds it in an index.
  function weights(count, channels, channel) {
    const bias = floats.slice(float, float + channels);
    const scale = floats.slice(float + channels, float + 2 * channels);
    float += 2 * channels;
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = whole[int + i] * scale[channel(i)];
    int += count;
    return [values, bias];
  }

  function linear({ inputs, outputs }) {
    const [w, bias] = weights(inputs * outputs, outputs, (i) => Math.floor(i / inputs));
    return (x) => {
      const y = Float32Array.from(bias);
      for (let o = 0; o < outputs; o++) {
        for (let i = 0; i < inputs; i++) y[o] += w[o * inputs + i] * x[i];
      }
      return y;
    };
  }

  // Each input pixel adds its kernel around stride * its place - padding.
  function transposed({ inputs, outputs, kernel, stride, padding, from, to }) {
    const area = kernel * kernel;
    const [w, bias] = weights(inputs * outputs * area, outputs,
      (i) => Math.floor(i / area) % outputs);
    return (x) => {
      const y = new Float32Array(outputs * to[0] * to[1]);
      for (let o = 0; o < outputs; o++) y.fill(bias[o], o * to[0] * to[1], (o + 1) * to[0] * to[1]);
      for (let c = 0; c < inputs; c++) {
        for (let r = 0; r < from[0]; r++) {
          for (let s = 0; s < from[1]; s++) {
            const value = x[(c * from[0] + r) * from[1] + s];
            if (value === 0) continue;
            for (let o = 0; o < outputs; o++) {
              for (let k = 0; k < kernel; k++) {
                const row = r * stride - padding[0] + k;
                if (row < 0 || row >= to[0]) continue;
                const at = (o * to[0] + row) * to[1];
                const first = (c * outputs + o) * area + k * kernel;
                for (let l = 0; l < kernel; l++) {
                  const column = s * stride - padding[1] + l;
                  if (column >= 0 && column < to[1]) y[at + column] += value * w[first + l];
                }
              }
            }
          }
        }
      }
      return y;
    };
  }

  // Stride 1. Each output pixel sums over the pixels around it; outside the image there are zeros.
  function convolution({ inputs, outputs, kernel, padding, from, to }) {
    const area = kernel * kernel;
    const [w, bias] = weights(inputs * outputs * area, outputs,
      (i) => Math.floor(i / (inputs * area)));
    return (x) => {
      const y = new Float32Array(outputs * to[0] * to[1]);
      for (let o = 0; o < outputs; o++) {
        for (let r = 0; r < to[0]; r++) {
          for (let s = 0; s < to[1]; s++) {
            let sum = bias[o];
            for (let c = 0; c < inputs; c++) {
              for (let k = 0; k < kernel; k++) {
                const row = r - padding[0] + k;
                if (row < 0 || row >= from[0]) continue;
                for (let l = 0; l < kernel; l++) {
                  const column = s - padding[1] + l;
                  if (column < 0 || column >= from[1]) continue;
                  sum += w[(o * inputs + c) * area + k * kernel + l]
                    * x[(c * from[0] + row) * from[1] + column];
                }
              }
            }
            y[(o * to[0] + r) * to[1] + s] = sum;
          }
        }
      }
      return y;
    };
  }

  const kinds = {
    linear,
    transposed,
    convolution,
    rectifier: ({ slope }) => (x) => x.map((v) => (v < 0 ? slope * v : v)),
    sigmoid: () => (x) => x.map((v) => 1 / (1 + Math.exp(-v))),
  };
  const layers = spec.layers.map((layer) => kinds[layer.kind](layer));
  return (code) => layers.reduce((x, layer) => layer(x), Float32Array.from(code));
}

// Show an image (channel, row, column) in [0, 1] on a canvas of its size.
function paint(canvas, image) {
  const pixels = canvas.width * canvas.height;
  const colors = image.length / pixels;
  const data = new ImageData(canvas.width, canvas.height);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) {
      data.data[4 * i + c] = Math.round(255 * image[(c % colors) * pixels + i]);
    }
    data.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
}
