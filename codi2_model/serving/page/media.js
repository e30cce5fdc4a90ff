// Converts files and recordings to content parts of the API with labels; draws spectrograms.
const SOUNDS = ["wav", "mp3", "flac", "ogg", "opus"];

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${blob.name || "The file"}: cannot be read`));
    reader.readAsDataURL(blob);
  });
}

export async function partOf(file) {
  const kind = file.type.split("/")[0], label = (file.name || "").slice(0, 80);
  const ending = label.split(".").pop().toLowerCase();
  if (kind === "audio" || SOUNDS.includes(ending)) return { ...(await soundPart(file, ending)), label };
  const url = await dataUrl(file);
  if (kind === "image") return { type: "image_url", image_url: { url }, label };
  if (kind === "video") return { type: "video_url", video_url: { url }, label };
  throw new Error(`${file.name || "The file"}: not an image, audio or video file`);
}

// A file of this page as a content part.
export async function fileAt(url, label) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.statusText}`);
  const blob = await response.blob();
  return { ...(await partOf(new File([blob], url.split("/").pop(), { type: blob.type }))), label };
}

async function soundPart(file, ending) {
  if (SOUNDS.includes(ending)) {
    const url = await dataUrl(file);
    return { type: "input_audio", input_audio: { data: url.slice(url.indexOf(",") + 1), format: ending } };
  }
  return wavPart(await mono(await file.arrayBuffer()));      // formats that the server does not read are decoded by the browser
}

// Decodes audio to mono samples at 16 kHz.
export async function mono(buffer, rate = 16000) {
  const context = new OfflineAudioContext(1, 1, rate);
  const decoded = await context.decodeAudioData(buffer);
  const offline = new OfflineAudioContext(1, Math.max(1, Math.ceil(decoded.duration * rate)), rate);
  const player = new AudioBufferSourceNode(offline, { buffer: decoded });
  player.connect(offline.destination);
  player.start();
  return (await offline.startRendering()).getChannelData(0);
}

export function wavPart(samples, rate = 16000) {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const word = (at, text) => [...text].forEach((c, n) => view.setUint8(at + n, c.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + samples.length * 2, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, rate * 2, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, "data"); view.setUint32(40, samples.length * 2, true);
  samples.forEach((s, n) => view.setInt16(44 + n * 2, Math.max(-1, Math.min(1, s)) * 32767, true));
  let text = "";
  const bytes = new Uint8Array(view.buffer);
  for (let n = 0; n < bytes.length; n += 32768) text += String.fromCharCode(...bytes.subarray(n, n + 32768));
  return { type: "input_audio", input_audio: { data: btoa(text), format: "wav" } };
}

// Starts recording from the microphone. Returns a function that stops it and returns the content part.
export async function recorder() {
  if (!navigator.mediaDevices) throw new Error("browsers allow the microphone only on https pages and on localhost");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const media = new MediaRecorder(stream), pieces = [];
  media.ondataavailable = (event) => pieces.push(event.data);
  media.start();
  return () => new Promise((resolve, reject) => {
    media.onstop = async () => {
      stream.getTracks().forEach((track) => track.stop());
      try {
        const samples = await mono(await new Blob(pieces).arrayBuffer());
        resolve({ ...wavPart(samples), label: `recording, ${(samples.length / 16000).toFixed(1)} s` });
      } catch (error) { reject(error); }
    };
    media.stop();
  });
}

// Draws the spectrogram of audio, from short overlapping windows.
export async function spectrogram(canvas, base64) {
  const samples = await mono(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
  const size = 512, step = Math.max(64, Math.floor((samples.length - size) / 260)) || 64;
  const columns = Math.max(1, Math.floor((samples.length - size) / step) + 1), rows = 96;
  canvas.width = columns; canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let x = 0; x < columns; x++) {
    const power = transform(samples, x * step, size);
    for (let y = 0; y < rows; y++) {
      const bin = Math.floor(((rows - 1 - y) / rows) ** 1.6 * (size / 2 - 1)) + 1;
      const level = Math.max(0, Math.min(1, (Math.log10(power[bin] + 1e-9) + 4) / 6)), at = (y * columns + x) * 4;
      image.data.set([255 * Math.min(1, level * 1.6), 255 * level ** 2, 255 * Math.min(1, 0.25 + level) * (level > 0.02), 255], at);
    }
  }
  context.putImageData(image, 0, 0);
}

function transform(samples, start, size) {              // power spectrum of a window, by an iterative FFT
  const re = new Float32Array(size), im = new Float32Array(size);
  for (let n = 0; n < size; n++) {
    let back = 0;
    for (let bit = 1, m = n; bit < size; bit <<= 1, m >>= 1) back = (back << 1) | (m & 1);
    re[back] = (samples[start + n] || 0) * (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
  }
  for (let half = 1; half < size; half <<= 1)
    for (let k = 0; k < half; k++) {
      const c = Math.cos((-Math.PI * k) / half), s = Math.sin((-Math.PI * k) / half);
      for (let n = k; n < size; n += half * 2) {
        const m = n + half, a = re[m] * c - im[m] * s, b = re[m] * s + im[m] * c;
        re[m] = re[n] - a; im[m] = im[n] - b; re[n] += a; im[n] += b;
      }
    }
  return re.map((value, n) => value * value + im[n] * im[n]);
}
