"use strict";
// The slice viewer: prior and current side by side, three linked planes, overlays that can be switched.
// Volumes arrive as grey PNG mosaics of axial slices; voxel (i, j, k) grows towards Right, Anterior, Superior.
// Radiological convention throughout: the patient's left is at the right of the picture.

const TISSUES = { 1: ["enhancing", "#ffb703"], 2: ["necrosis / non-enhancing", "#4cc9f0"], 3: ["oedema", "#80ed99"] };
// For each plane: which axis runs across, which down, which is fixed, whether each is shown mirrored, edge letters.
const PLANES = {
  axial: { across: 0, down: 1, fixed: 2, mirror: [true, true], edges: ["R", "L", "A", "P"] },
  coronal: { across: 0, down: 2, fixed: 1, mirror: [true, true], edges: ["R", "L", "S", "I"] },
  sagittal: { across: 1, down: 2, fixed: 0, mirror: [true, true], edges: ["A", "P", "S", "I"] },
};

async function decode(mosaic) {
  // A mosaic holds nk tiles of ni x nj, `columns` per row; tile row = j, tile column = i.
  const image = new Image();
  image.src = mosaic.png;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const [ni, nj, nk] = mosaic.shape;
  const voxels = new Uint8Array(ni * nj * nk);
  for (let k = 0; k < nk; k++) {
    const left = (k % mosaic.columns) * ni;
    const top = Math.floor(k / mosaic.columns) * nj;
    for (let j = 0; j < nj; j++)
      for (let i = 0; i < ni; i++)
        voxels[i + ni * (j + nj * k)] = pixels[4 * ((top + j) * image.width + left + i)];
  }
  return { voxels, shape: mosaic.shape };
}

function at(volume, place) {
  const [ni, nj] = volume.shape;
  return volume.voxels[place[0] + ni * (place[1] + nj * place[2])];
}

function heat(value) {
  // Black-body colours: dark red, orange, yellow, white.
  const t = value / 255;
  return [255 * Math.min(1, 2.2 * t), 255 * Math.min(1, Math.max(0, 2.2 * t - 0.7)), 255 * Math.max(0, 3.2 * t - 2.2)];
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    this.cache = new Map();
    this.place = this.data.start.slice();
    this.canvases = [...root.querySelectorAll("canvas")];
    this.controls = root.querySelector(".viewer-controls");
    for (const canvas of this.canvases) this.listen(canvas);
    this.controls.addEventListener("input", () => this.draw());
    this.sliders = [...root.querySelectorAll("input[data-axis]")];
    for (const slider of this.sliders)
      slider.addEventListener("input", () => {
        this.place[Number(slider.dataset.axis)] = Number(slider.value);
        this.draw();
      });
    new ResizeObserver(() => this.draw()).observe(root);
    this.draw();
  }

  listen(canvas) {
    const plane = PLANES[canvas.dataset.plane];
    const shape = this.data.shape;
    const move = (event) => {
      const box = canvas.getBoundingClientRect();
      [
        [plane.across, (event.clientX - box.left) / box.width, plane.mirror[0]],
        [plane.down, (event.clientY - box.top) / box.height, plane.mirror[1]],
      ].forEach(([axis, share, mirrored]) => {
        const index = Math.floor((mirrored ? 1 - share : share) * shape[axis]);
        this.place[axis] = Math.min(Math.max(index, 0), shape[axis] - 1);
      });
      this.draw();
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      move(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && move(event));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.step(plane.fixed, event.deltaY < 0 ? 1 : -1);
    });
    canvas.addEventListener("keydown", (event) => {
      const steps = {
        ArrowLeft: [plane.across, plane.mirror[0] ? 1 : -1], ArrowRight: [plane.across, plane.mirror[0] ? -1 : 1],
        ArrowUp: [plane.down, 1], ArrowDown: [plane.down, -1], PageUp: [plane.fixed, 1], PageDown: [plane.fixed, -1],
      };
      if (!(event.key in steps)) return;
      event.preventDefault();
      this.step(...steps[event.key]);
    });
  }

  step(axis, by) {
    this.place[axis] = Math.min(Math.max(this.place[axis] + by, 0), this.data.shape[axis] - 1);
    this.draw();
  }

  setting(name) {
    const control = this.controls.querySelector(`[name='${name}']`);
    return control === null ? null : control.type === "checkbox" ? control.checked : control.value;
  }

  async volume(mosaic) {
    if (!this.cache.has(mosaic)) this.cache.set(mosaic, decode(mosaic));
    return this.cache.get(mosaic);
  }

  async draw() {
    const sequence = this.setting("sequence");
    const map = this.setting("map");
    const turn = (this.turn = (this.turn || 0) + 1);
    const studies = {};
    for (const study of ["prior", "current"]) {
      const source = this.data.studies[study];
      const maps = map ? this.data.maps[map] : null;
      studies[study] = {
        image: await this.volume(source.images[sequence]),
        labels: await this.volume(source.labels),
        map: maps && maps[study] ? await this.volume(maps[study]) : null,
      };
    }
    if (turn !== this.turn) return;
    for (const canvas of this.canvases) this.paint(canvas, studies[canvas.dataset.study]);
    for (const slider of this.sliders) slider.value = this.place[Number(slider.dataset.axis)];
    const world = this.data.affine.map((row) => row[3] + row[0] * this.place[0] + row[1] * this.place[1] + row[2] * this.place[2]);
    const labels = ["prior", "current"].map((study) => TISSUES[at(studies[study].labels, this.place) / 50]?.[0] || "no label");
    this.root.querySelector("output").textContent =
      `x ${world[0].toFixed(0)}  y ${world[1].toFixed(0)}  z ${world[2].toFixed(0)} mm (RAS) · prior: ${labels[0]} · current: ${labels[1]}`;
  }

  paint(canvas, study) {
    const plane = PLANES[canvas.dataset.plane];
    const shape = this.data.shape;
    const [width, height] = [shape[plane.across], shape[plane.down]];
    const strength = Number(this.setting("strength")) / 100;
    const picture = new ImageData(width, height);
    const place = this.place.slice();
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        place[plane.across] = plane.mirror[0] ? width - 1 - x : x;
        place[plane.down] = plane.mirror[1] ? height - 1 - y : y;
        const grey = at(study.image, place);
        const offset = 4 * (y * width + x);
        let colour = [grey, grey, grey];
        if (study.map) {
          const value = at(study.map, place);
          const share = strength * Math.min(1, value / 110);
          colour = heat(value).map((part, n) => (1 - share) * colour[n] + share * part);
        }
        picture.data.set([...colour, 255], offset);
      }
    const small = document.createElement("canvas");
    small.width = width;
    small.height = height;
    small.getContext("2d").putImageData(picture, 0, 0);
    const scale = Math.max(1, Math.round((canvas.clientWidth * window.devicePixelRatio) / width));
    canvas.width = width * scale;
    canvas.height = height * scale;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (this.setting("tumour")) this.outline(context, plane, study.labels, scale);
    this.mark(context, plane, scale, canvas);
  }

  outline(context, plane, labels, scale) {
    const [width, height] = [labels.shape[plane.across], labels.shape[plane.down]];
    const place = this.place.slice();
    const label = (x, y) => {
      if (x < 0 || y < 0 || x >= width || y >= height) return 0;
      place[plane.across] = plane.mirror[0] ? width - 1 - x : x;
      place[plane.down] = plane.mirror[1] ? height - 1 - y : y;
      return Math.round(at(labels, place) / 50);
    };
    context.lineWidth = Math.max(1, scale / 4);
    for (const [value, [, colour]] of Object.entries(TISSUES)) {
      context.strokeStyle = colour;
      context.beginPath();
      for (let y = 0; y <= height; y++)
        for (let x = 0; x <= width; x++) {
          const here = label(x, y) === Number(value);
          if (here !== (label(x - 1, y) === Number(value))) {
            context.moveTo(x * scale, y * scale);
            context.lineTo(x * scale, (y + 1) * scale);
          }
          if (here !== (label(x, y - 1) === Number(value))) {
            context.moveTo(x * scale, y * scale);
            context.lineTo((x + 1) * scale, y * scale);
          }
        }
      context.stroke();
    }
  }

  mark(context, plane, scale, canvas) {
    const { width, height } = canvas;
    const x = scale * ((plane.mirror[0] ? this.data.shape[plane.across] - 1 - this.place[plane.across] : this.place[plane.across]) + 0.5);
    const y = scale * ((plane.mirror[1] ? this.data.shape[plane.down] - 1 - this.place[plane.down] : this.place[plane.down]) + 0.5);
    context.strokeStyle = "rgba(140, 200, 255, 0.55)";
    context.lineWidth = Math.max(1, scale / 8);
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
    const size = Math.max(11 * window.devicePixelRatio, height / 18);
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.fillStyle = "#dfe9f2";
    context.textBaseline = "middle";
    const [left, right, top, bottom] = plane.edges;
    context.textAlign = "left";
    context.fillText(left, size / 3, height / 2);
    context.textAlign = "right";
    context.fillText(right, width - size / 3, height / 2);
    context.textAlign = "center";
    context.fillText(top, width / 2, size * 0.8);
    context.fillText(bottom, width / 2, height - size * 0.7);
  }
}

// A case's volumes are decoded when its details are opened, not before: pages with many cases stay light.
for (const details of document.querySelectorAll("details.case")) {
  const start = () => {
    const root = details.querySelector(".viewer");
    if (details.open && root && !root.dataset.started) {
      root.dataset.started = "yes";
      new Viewer(root);
    }
  };
  details.addEventListener("toggle", start);
  start();
}
