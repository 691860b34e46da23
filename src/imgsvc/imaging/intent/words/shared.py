"""Colours and file formats, in all languages at once."""

from imgsvc.imaging.formats import ImageFormat

COLOURS: dict[str, str] = {
    "#000000": "black, schwarz, schwarzer, schwarzen, schwarze, noir, noire, negro, negra, preto,"
    " preta, schwarzem, schwarzes",
    "#ffffff": "white, weiß, weißer, weißen, weiße, blanc, blanche, blanco, blanca, branco,"
    " branca, weißem, weißes",
    "#808080": "gray, grey, grau, grauer, grauen, graue, gris, cinza, cinzento, grauem, graues,"
    " grise, cinzenta",
    "#ff0000": "red, rot, roter, roten, rote, rouge, rojo, roja, vermelho, vermelha, rotem, rotes",
    "#008000": "green, grün, grüner, grünen, grüne, vert, verte, verde, grünem, grünes",
    "#0000ff": "blue, blau, blauer, blauen, blaue, bleu, bleue, azul, blauem, blaues",
    "#ffff00": "yellow, gelb, gelber, gelben, gelbe, jaune, amarillo, amarilla, amarelo, amarela,"
    " gelbem, gelbes",
    "#ffa500": "orange, oranger, naranja, laranja",
    "#800080": "purple, violet, lila, violett, violette, morado, morada, violeta, roxo, roxa",
    "#ffc0cb": "pink, rosa, rosafarben, rose",
    "#a52a2a": "brown, braun, brauner, braunen, braune, brun, brune, marron, marrom, castanho,"
    " braunem, braunes",
    "#00ffff": "cyan, türkis, turquoise, turquesa, cian, ciano",
    "#ff00ff": "magenta",
    "#ffd700": "gold, golden, goldener, goldenen, goldene, doré, dorée, dorado, dorada, dourado,"
    " dourada, goldenem, goldenes",
    "#c0c0c0": "silver, silbern, silberner, silbernen, argenté, plateado, prateado, prata,"
    " silbernem, silbernes, silberne",
    "#f5f5dc": "beige, cream, creme, crema",
    "#000080": "navy, dunkelblau, bleu marine, azul marino, azul marinho",
}
"""By the colour as #rrggbb: what CSS calls by the English name."""

FORMATS: dict[ImageFormat, str] = {
    ImageFormat.PNG: "png",
    ImageFormat.JPEG: "jpeg, jpg",
    ImageFormat.WEBP: "webp, web p",
}
