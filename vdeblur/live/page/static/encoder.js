// A worker: pictures become JPEGs beside the page, which stays free for drawing.

let canvas = null;
let context = null;

onmessage = async ({ data: { picture, number, capturedMs, quality } }) => {
  if (!canvas || canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas = new OffscreenCanvas(picture.width, picture.height);
    context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  }
  context.drawImage(picture, 0, 0);
  const jpeg = await (await canvas.convertToBlob({ type: "image/jpeg", quality })).arrayBuffer();
  postMessage({ picture, number, capturedMs, jpeg }, [picture, jpeg]);
};
