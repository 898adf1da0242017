"""What a judge needs of an image, for those who make images for it."""

# Smallest height and width that a metric takes, pixels: LIQE and MANIQA cut crops of 224, MS-SSIM halves four times
# under SSIM's window of 11, VIF reflects at a pyramid's fourth level, LPIPS pools AlexNet's maps until none is left.
# Measured with pyiqa 0.1.16, whose own errors say nothing of the size.
SMALLEST_IMAGE = {
    "liqe": 224,
    "liqe_mix": 224,
    "maniqa": 224,
    "ms_ssim": 161,
    "vif": 33,
    "lpips": 31,
    "ssim": 11,
    "ssimc": 11,
    "piqe": 8,
    "artifacts": 7,  # its window
    "gmsd": 4,
    "fsim": 2,
}
