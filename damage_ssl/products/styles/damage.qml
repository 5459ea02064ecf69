<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
 <renderer-v2 type="categorizedSymbol" attr="coalesce(&quot;damage_class&quot;, if(&quot;assessed&quot;, coalesce(attribute('analyst_class'), 'no-result'), 'not-assessed'))" enableorderby="0" forceraster="0">
  <categories>
   <category value="no-damage" symbol="0" label="No damage" render="true" type="string" />
   <category value="intact" symbol="1" label="Intact" render="true" type="string" />
   <category value="minor-damage" symbol="2" label="Minor damage" render="true" type="string" />
   <category value="major-damage" symbol="3" label="Major damage" render="true" type="string" />
   <category value="damaged" symbol="4" label="Damaged" render="true" type="string" />
   <category value="destroyed" symbol="5" label="Destroyed" render="true" type="string" />
   <category value="not-assessed" symbol="6" label="Not assessed" render="true" type="string" />
   <category value="no-result" symbol="7" label="No result yet" render="true" type="string" />
  </categories>
  <symbols>
   <symbol type="fill" name="0" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="198,232,247,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="1" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="198,232,247,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="2" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="245,220,74,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="3" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="232,125,18,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="4" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="196,48,79,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="5" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="95,10,51,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="6" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="127,138,143,0" />
      <Option type="QString" name="style" value="no" />
      <Option type="QString" name="outline_color" value="127,138,143,255" />
      <Option type="QString" name="outline_style" value="dash" />
      <Option type="QString" name="outline_width" value="0.4" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="7" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="255,255,255,0" />
      <Option type="QString" name="style" value="no" />
      <Option type="QString" name="outline_color" value="255,255,255,255" />
      <Option type="QString" name="outline_style" value="dash" />
      <Option type="QString" name="outline_width" value="0.4" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
  </symbols>
 </renderer-v2>
 <layerGeometryType>2</layerGeometryType>
</qgis>
